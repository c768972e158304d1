"""The commands for what happens to an invoice after it was sent."""

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.arguments import with_engine
from services.invoicer.following import documents
from services.invoicer.following.voiding import Voided, Voiding
from services.invoicer.stripe_gateway import StripeGateway
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, show
from shared.settings import Settings

InvoiceId = Annotated[str, typer.Argument(metavar="ID", help="an invoice's id")]
Why = Annotated[str, typer.Option(help="why, for the audit trail")]


def void_command(
    invoice_id: InvoiceId,
    why: Why,
    reissue: Annotated[
        bool, typer.Option("--reissue", help="issue the same again, under a new billing key")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Void an unpaid invoice, at Stripe and here; safe to repeat."""

    async def void(settings: Settings, engine: AsyncEngine) -> Voided:
        async with StripeGateway(settings) as gateway:
            return await Voiding(engine, gateway, present).void(
                invoice_id, why=why, reissue=reissue, actor=login_name()
            )

    voided = with_engine(void)
    text = f"{invoice_id} is void"
    if voided.reissued is not None:
        again = voided.reissued
        text += f"; in its place: {again.id}, {again.state}; to send it: runs send {again.run_id}"
    show(documents.voided_document(voided), json=json, table=lambda: text)
