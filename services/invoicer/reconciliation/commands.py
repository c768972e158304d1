"""The command for the books' reconciliation."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.arguments import PeriodArgument, chosen, with_engine
from services.invoicer.reconciliation import report
from services.invoicer.reconciliation.classify import Reconciliation, reconcile
from services.invoicer.reconciliation.figures import Figures
from services.invoicer.reconciliation.gather import gather
from services.invoicer.stripe_gateway import StripeGateway
from shared.console import JsonOption, err, out, rows_table, show
from shared.periods import Period
from shared.settings import Settings

_MOST_NAMED = 3


def reconcile_command(
    period: PeriodArgument,
    html: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write the page to this file too")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(file_okay=False, help="write CSV files to this directory too")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare log, events, line items, invoices and Stripe; exit 1 on a critical difference."""
    found, figures = with_engine(lambda settings, engine: _reconcile(settings, engine, period))
    if html is not None:
        html.write_text(report.to_html(found, figures), encoding="utf-8")
    if csv is not None:
        report.write_csv(found, csv)
    document = report.to_json(found)
    show(document, json=json, table=lambda: _stages_table(document))
    if not json:
        out.print(_differences_table(document))
        verdict = "clean" if found.clean else "NOT clean: there are critical differences"
        out.print(f"{period} is {verdict}", style="green" if found.clean else "bold red")
    if not found.clean:
        raise typer.Exit(1)


async def _reconcile(
    settings: Settings, engine: AsyncEngine, period: Period
) -> tuple[Reconciliation, Figures]:
    with err.status("reading the books …") if err.is_terminal else nullcontext():
        async with StripeGateway(settings) as gateway:
            figures = await gather(settings, engine, gateway, period)
    return reconcile(figures), figures


def _stages_table(document: report.ReconciliationDocument) -> Table | str:
    title = f"Reconciliation of {document['period']}"
    return rows_table(document["stages"], title=title, empty="")


def _differences_table(document: report.ReconciliationDocument) -> Table | str:
    rows = []
    for one in document["differences"]:
        ids, more = one["ids"][:_MOST_NAMED], len(one["ids"]) - _MOST_NAMED
        named = ", ".join(ids) + (f" and {more} more" if more > 0 else "")
        rows.append({**chosen([one], "severity", "class", "count", "amount")[0], "named": named})
    return rows_table(rows, title="Differences", empty="no differences")
