"""The commands for what happens to an invoice after it was sent."""

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.arguments import chosen, with_engine
from services.invoicer.following import documents
from services.invoicer.following.follower import Follower, Moved
from services.invoicer.following.voiding import Voided, Voiding
from services.invoicer.stripe_gateway import StripeGateway
from shared import logs
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, rows_table, show
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


def follow_command(json: JsonOption = False) -> None:
    """Look at Stripe again for every invoice that is still to be paid; safe to repeat."""

    async def follow(settings: Settings, engine: AsyncEngine) -> list[Moved]:
        logs.configure(settings)
        async with StripeGateway(settings) as gateway:
            return await Follower(engine, gateway).follow_all()

    document = documents.followed_document(with_engine(follow))
    rows = [
        {**row, "before": one["before"]}
        for one in document["moved"]
        for row in chosen([one["invoice"]], "id", "period", "customer", "total", "state")
    ]
    show(
        document,
        json=json,
        table=lambda: rows_table(rows, title="Moved", empty="all stand as they did"),
    )
