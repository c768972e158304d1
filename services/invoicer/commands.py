"""The commands for periods and invoices.

They work on the database by the same functions as the HTTP interface, and print the same JSON.
"""

from typing import Annotated

import typer

from services.invoicer import documents
from services.invoicer import runs as book
from services.invoicer.arguments import (
    ROLE,
    PeriodArgument,
    PeriodOption,
    chosen,
    say,
    with_engine,
)
from services.invoicer.closing import close_period, list_periods
from services.invoicer.following.documents import read_invoice
from services.invoicer.reopening import reopen_period
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, out, rows_table, run_in_session, show

periods = typer.Typer(help="Months: which are closed, and closing one.")
invoices = typer.Typer(help="Invoices and their lines.")


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
            settings, engine, period, actor=login_name(), clock=present, on_progress=say
        )
    )
    document = documents.period_document(closed)
    show(document, json=json, table=lambda: f"{period} is closed since {document['closed_at']}")


@periods.command("reopen")
def periods_reopen(
    period: PeriodArgument,
    why: Annotated[str, typer.Option(help="why, for the audit trail")],
    json: JsonOption = False,
) -> None:
    """Open a closed month again and withdraw its run; only before anything of it was sent."""
    withdrawn = with_engine(
        lambda _settings, engine: reopen_period(engine, period, why=why, actor=login_name())
    )
    show(
        {"period": str(period), "withdrawn_invoices": withdrawn},
        json=json,
        table=lambda: f"{period} is open again; {withdrawn} frozen invoices are withdrawn",
    )


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
    """Show an invoice with its lines, and what was given back of them."""
    document = run_in_session(ROLE, lambda session: read_invoice(session, invoice_id))
    rows = chosen(document["lines"], "position", "description", "exact_amount", "amount")
    title = (
        f"{document['customer']}, {document['period']}: {document['total']}"
        f" {document['currency']}, {document['state']}"
    )
    title += f": {document['note']}" if document["note"] else ""
    show(document, json=json, table=lambda: rows_table(rows, title=title, empty=title))
    for one in document["credits"]:
        say(
            f"credit of {one['amount']} {one['currency']} on line {one['line']}:"
            f" {one['state']}, {one['why']} ({one['reference']})"
        )
    if not json:
        for field in document["custom_fields"]:
            _print(f"{field['name']}: {field['value']}")
        if document["footer"]:
            _print(document["footer"])
