"""The commands for periods, runs, invoices, and the books' reconciliation.

They work on the database by the same functions as the HTTP interface, and print the same JSON.
"""

from collections.abc import Mapping
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer import documents, planning, sending
from services.invoicer import runs as book
from services.invoicer.arguments import ROLE, PeriodArgument, PeriodOption, chosen, with_engine
from services.invoicer.closing import close_period, list_periods
from services.invoicer.documents import WholeRunDocument
from services.invoicer.reconciliation.commands import reconcile_command
from services.invoicer.stripe_gateway import StripeGateway
from shared import logs
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, err, out, rows_table, run_in_session, show
from shared.progress import bar
from shared.settings import Settings
from shared.tables.invoicer import Invoice

periods = typer.Typer(help="Months: which are closed, and closing one.")
runs = typer.Typer(help="Month-end invoice runs.")
invoices = typer.Typer(help="Invoices and their lines.")


RunId = Annotated[str, typer.Argument(metavar="RUN", help="a run's id, such as run_2026-10")]


def _say(text: str) -> None:
    err.print(text, markup=False, highlight=False)


def _print(text: str) -> None:
    out.print(text, markup=False, highlight=False)


@periods.command("list")
def periods_list(json: JsonOption = False) -> None:
    """List the months that are being closed or are closed; all others are open."""
    found = [documents.period_document(one) for one in run_in_session(ROLE, list_periods)]
    rows = chosen(found, "period", "state", "closing_at", "closed_at")
    show(
        {"periods": found},
        json=json,
        table=lambda: rows_table(rows, title="Periods", empty="no month is closed yet"),
    )


@periods.command("close")
def periods_close(period: PeriodArgument, json: JsonOption = False) -> None:
    """Close a month: wait for the rater, then let nothing more be posted to it."""
    closed = with_engine(
        lambda settings, engine: close_period(
            settings, engine, period, actor=login_name(), clock=present, on_progress=_say
        )
    )
    document = documents.period_document(closed)
    show(document, json=json, table=lambda: f"{period} is closed since {document['closed_at']}")


@runs.command("preview")
def runs_preview(period: PeriodArgument, json: JsonOption = False) -> None:
    """Show what each invoice of a month would be now; nothing is written or sent."""
    preview = run_in_session(ROLE, lambda session: planning.preview(session, period))
    document = documents.preview_document(preview)
    rows = [
        {**row, "warnings": ", ".join(row["warnings"])}
        for row in chosen(
            document["invoices"],
            "customer",
            "currency",
            "total",
            "last_month",
            "change",
            "warnings",
        )
    ]
    show(
        document,
        json=json,
        table=lambda: rows_table(
            rows,
            title=f"Invoices of {period}, {'closed' if preview.closed else 'not closed yet'}",
            empty=f"no line items are posted to {period}",
        ),
    )
    for one in document["absent"]:
        _say(f"{one['customer']} had {one['last_month']} {one['currency']} last month, now nothing")
    if document["unpriced_events"]:
        _say(f"{document['unpriced_events']} events have no contract; see: events waiting")


@runs.command("start")
def runs_start(
    period: PeriodArgument,
    send: Annotated[bool, typer.Option("--send", help="send the invoices at once")] = False,
    json: JsonOption = False,
) -> None:
    """Close a month and freeze its invoices; `--send` sends them too."""

    async def start(settings: Settings, engine: AsyncEngine) -> WholeRunDocument:
        actor = login_name()
        started = await book.start_run(
            settings, engine, period, actor=actor, clock=present, on_progress=_say
        )
        if send:
            await _send(settings, engine, started.id)
        return await _read_run(engine, started.id)

    _show_run(with_engine(start), json=json, must_be_done=send)


@runs.command("show")
def runs_show(run_id: RunId, json: JsonOption = False) -> None:
    """Show a run, and where each of its invoices stands."""
    found = with_engine(lambda _settings, engine: _read_run(engine, run_id))
    _show_run(found, json=json, must_be_done=False)


@runs.command("send")
@runs.command("resume", help="Send what of a run is not sent yet; the same as `send`.")
def runs_send(run_id: RunId, json: JsonOption = False) -> None:
    """Send a run to Stripe, or what is left of it; safe to repeat. Exit 1 if any failed."""

    async def send(settings: Settings, engine: AsyncEngine) -> WholeRunDocument:
        await _send(settings, engine, run_id)
        return await _read_run(engine, run_id)

    _show_run(with_engine(send), json=json, must_be_done=True)


@runs.command("list")
def runs_list(json: JsonOption = False) -> None:
    """List all runs, the newest month first."""

    async def read(session: AsyncSession) -> list[documents.RunDocument]:
        found = await book.list_runs(session)
        return [
            documents.run_document(one, await book.count_states(session, one.id)) for one in found
        ]

    document = run_in_session(ROLE, read)
    rows = [
        {**row, "invoices": _counts(one["states"])}
        for one in document
        for row in chosen([one], "id", "period", "state", "started_by", "created_at", "finished_at")
    ]
    show(
        {"runs": document},
        json=json,
        table=lambda: rows_table(rows, title="Runs", empty="no runs yet; see: runs start"),
    )


async def _send(settings: Settings, engine: AsyncEngine, run_id: str) -> None:
    logs.configure(settings)
    begun = await sending.begin(engine, run_id, actor=login_name())
    if begun.state == "done":
        return
    async with AsyncSession(engine) as session:
        count = len(await book.list_invoices(session, run_id=run_id))
    with bar(err, "invoices", count) as shown:

        def on_progress(invoice: Invoice) -> None:
            shown.advance()
            if invoice.last_error is not None:
                _say(f"{invoice.customer_id}: {invoice.state}: {invoice.last_error}")

        async with StripeGateway(settings) as gateway:
            await sending.Sender(
                engine,
                gateway,
                workers=settings.invoicer_workers,
                days_until_due=settings.days_until_due,
            ).send(run_id, on_progress=on_progress)


async def _read_run(engine: AsyncEngine, run_id: str) -> WholeRunDocument:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        return documents.whole_run_document(
            await book.get_run(session, run_id),
            await book.count_states(session, run_id),
            await book.list_invoices(session, run_id=run_id),
        )


def _show_run(document: WholeRunDocument, *, json: bool, must_be_done: bool) -> None:
    rows = chosen(document["invoices"], "customer", "currency", "total", "state", "last_error")
    title = f"{document['id']} is {document['state']}: {_counts(document['states'])}"
    show(document, json=json, table=lambda: rows_table(rows, title=title, empty=title))
    if must_be_done and document["state"] != "done":
        raise typer.Exit(1)


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items()) or "no invoices"


@invoices.command("list")
def invoices_list(period: PeriodOption = None, json: JsonOption = False) -> None:
    """List invoices by month and customer."""
    found = run_in_session(ROLE, lambda session: book.list_invoices(session, period=period))
    document = [documents.invoice_document(one) for one in found]
    rows = chosen(document, "id", "period", "customer", "currency", "total", "state")
    show(
        {"invoices": document},
        json=json,
        table=lambda: rows_table(rows, title="Invoices", empty="no invoices; see: runs start"),
    )


@invoices.command("show")
def invoices_show(
    invoice_id: Annotated[str, typer.Argument(metavar="ID", help="an invoice's id")],
    json: JsonOption = False,
) -> None:
    """Show an invoice with its lines."""
    found = run_in_session(ROLE, lambda session: book.get_invoice(session, invoice_id))
    document = documents.whole_invoice_document(*found)
    rows = chosen(document["lines"], "position", "description", "exact_amount", "amount")
    title = (
        f"{document['customer']}, {document['period']}: {document['total']}"
        f" {document['currency']}, {document['state']}"
    )
    title += f": {document['note']}" if document["note"] else ""
    show(document, json=json, table=lambda: rows_table(rows, title=title, empty=title))
    if not json:
        for field in document["custom_fields"]:
            _print(f"{field['name']}: {field['value']}")
        if document["footer"]:
            _print(document["footer"])


__all__ = ["invoices", "periods", "reconcile_command", "runs"]
