"""The commands for deliveries."""

from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.arguments import ROLE, chosen
from services.invoicer.notifying.delivery import documents, overview
from services.invoicer.notifying.endpoints.store import get_endpoint
from shared.clock import present
from shared.console import JsonOption, rows_table, run_in_session, show
from shared.errors import WrongUseError

deliveries = typer.Typer()

_STATES = ("waiting", "delivered", "dead")


@deliveries.command("deliveries")
def deliveries_command(
    state: Annotated[
        str | None, typer.Option(help=f"only those in it: {', '.join(_STATES)}")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="ID", help="only those to this endpoint")
    ] = None,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=0, max=2**63 - 1, help="older than this one"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List what was told, is to be told, and was given up, the newest first."""
    if state not in (None, *_STATES):
        raise WrongUseError(f"{state!r} is no state; use one of {', '.join(_STATES)}")
    found = run_in_session(
        ROLE,
        lambda session: overview.list_deliveries(
            session, state=state, endpoint=endpoint, before=before
        ),
    )
    document = documents.deliveries_document(found)
    is_part = (state, endpoint, before) != (None, None, None)
    empty = "there are no such deliveries" if is_part else "nothing was told yet"
    show(document, json=json, table=lambda: _deliveries_table(document, empty))


@deliveries.command("retry")
def retry_command(
    delivery_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=0, max=2**63 - 1, help="a delivery's id")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="ID", help="all that was given up for this endpoint")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Let what was given up be due again: one delivery, or all of an endpoint."""
    if (delivery_id is None) == (endpoint is None):
        raise WrongUseError("name one delivery, or an endpoint with --endpoint")

    async def retried(session: AsyncSession) -> int:
        if delivery_id is not None:
            await overview.retry_delivery(session, delivery_id, present())
            return 1
        assert endpoint is not None
        await get_endpoint(session, endpoint)
        return await overview.retry_dead(session, endpoint, present())

    count = run_in_session(ROLE, retried)
    show({"retried": count}, json=json, table=lambda: f"due again: {count}")


def _deliveries_table(document: documents.DeliveriesDocument, empty: str) -> Table | str:
    columns = ("id", "type", "subject", "endpoint", "state", "attempts", "next_attempt_at",
               "last_answer")  # fmt: skip
    rows = chosen(document["deliveries"], *columns)
    title = "Deliveries, the newest first"
    if document["more_before"] is not None:
        title += f"; older ones: webhooks deliveries --before {document['more_before']}"
    return rows_table(rows, title=title, empty=empty)
