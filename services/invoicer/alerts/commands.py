"""The commands for alerts: added, listed, removed, and what they were raised for."""

from typing import Annotated, Any

import typer
from rich.table import Table

from services.invoicer.alerts import book, documents
from services.invoicer.alerts.adding import Wanted, read_decimal
from services.invoicer.arguments import ROLE, PeriodOption, read_period
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, rows_table, run_in_session, show
from shared.periods import Period

alerts = typer.Typer(help="Alerts on what customers spend and use, each raised once a month.")

CustomerOption = Annotated[
    str | None, typer.Option("--customer", metavar="ID", help="a customer; without: every one")
]


@alerts.command("add", no_args_is_help=True)
def alerts_add(
    customer: CustomerOption = None,
    meter: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="on the quantity of this meter; without: on spend"),
    ] = None,
    currency: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="of the spend: USD; without: the customer's own"),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="N", help="an amount or quantity; as often as needed"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="N", help="an amount or quantity, for --percent of it")
    ] = None,
    percent: Annotated[
        list[str] | None,
        typer.Option("--percent", metavar="N", help="of the budget; as often as needed"),
    ] = None,
    since: Annotated[
        Period | None,
        typer.Option(
            "--since",
            metavar="PERIOD",
            parser=read_period,
            help="the first month to look at: 2026-10; without: the present one",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add an alert on what a month comes to; what is exceeded already is raised at once."""
    now = present()
    wanted = Wanted(
        since or Period.of(now),
        customer,
        meter,
        currency,
        [read_decimal(one) for one in at or ()],
        None if budget is None else read_decimal(budget),
        [read_decimal(one) for one in percent or ()],
    )
    added = run_in_session(
        ROLE, lambda session: book.add_alert(session, wanted, actor=login_name(), now=now)
    )
    document = documents.alert_document(added)
    show(document, json=json, table=lambda: _table([document], "Added"))


@alerts.command("list")
def alerts_list(json: JsonOption = False) -> None:
    """List the alerts in force."""
    document = documents.alerts_document(run_in_session(ROLE, book.list_alerts))
    show(document, json=json, table=lambda: _table(document["alerts"], "Alerts"))


@alerts.command("remove")
def alerts_remove(
    alert_id: Annotated[str, typer.Argument(metavar="ID", help="an alert's id")],
    json: JsonOption = False,
) -> None:
    """Remove an alert; what it was raised for stays on record."""
    removed = run_in_session(
        ROLE,
        lambda session: book.remove_alert(session, alert_id, actor=login_name(), now=present()),
    )
    show(documents.alert_document(removed), json=json, table=lambda: f"{alert_id} is removed")


@alerts.command("raised")
def alerts_raised(
    customer: CustomerOption = None, period: PeriodOption = None, json: JsonOption = False
) -> None:
    """List what was raised, the newest 1,000 first."""
    found = run_in_session(
        ROLE, lambda session: book.list_raised(session, customer_id=customer, period=period)
    )
    document = documents.raised_document(found)
    rows = [
        {
            "raised_at": one["raised_at"],
            "customer": one["customer"],
            "period": one["period"],
            "of": one["currency"] or one["meter"],
            "threshold": one["threshold"],
            "percent": one["percent"],
            "reached": one["reached"],
            "alert": one["alert"],
        }
        for one in document["raised"]
    ]
    empty = "no alert was raised"
    show(document, json=json, table=lambda: rows_table(rows, title="Raised", empty=empty))


def _table(found: list[documents.AlertDocument], title: str) -> Table | str:
    rows: list[dict[str, Any]] = [
        {
            "id": one["id"],
            "customer": one["customer"] or "every one",
            "on": f"{one['on']}, {one['currency'] or one['meter']}",
            "thresholds": ", ".join(one["thresholds"] or (f"{p} %" for p in one["percents"])),
            "budget": one["budget"],
            "since": one["since"],
        }
        for one in found
    ]
    return rows_table(rows, title=title, empty="no alerts; see: alerts add --help")
