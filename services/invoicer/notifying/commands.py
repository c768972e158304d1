"""The commands for who is told what: endpoints, and deliveries to them."""

import typer

from services.invoicer.notifying.delivery.commands import deliveries
from services.invoicer.notifying.endpoints.commands import endpoints

webhooks = typer.Typer(help="Who is told what happens, by webhooks and e-mail.")
webhooks.add_typer(endpoints)
webhooks.add_typer(deliveries)
