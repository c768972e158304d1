"""The `tallybook` command: a thin layer over the services."""

import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

import asyncpg
import pydantic
import sqlalchemy.exc
import typer
import uvloop

from infra.local import commands as local_commands
from infra.migrations.migrate import migrate as bring_database_up
from services.ingest import app as ingest_app
from services.ingest import commands as ingest_commands
from services.ingest.sending.commands import send_command
from services.ingest.whereabouts import commands as whereabouts_commands
from services.invoicer import app as invoicer_app
from services.invoicer import commands as invoicer_commands
from services.invoicer import run_commands
from services.invoicer.alerts.commands import alerts
from services.invoicer.auditing.commands import audit_command
from services.invoicer.carried.commands import carried_command
from services.invoicer.detail.commands import detail_command
from services.invoicer.exporting.commands import export_command
from services.invoicer.following import commands as following_commands
from services.invoicer.notifying import commands as notifying_commands
from services.invoicer.reconciliation.commands import reconcile_command
from services.rater import app as rater_app
from services.rater import commands as rater_commands
from services.rater.corrections import commands as correction_commands
from services.rater.quotes import commands as quote_commands
from services.rater.set_aside import commands as set_aside_commands
from services.rater.usage.commands import usage_command
from shared import logs
from shared.broker import create_topic
from shared.console import JsonOption, err, rows_table, run, show
from shared.database import TRANSIENT
from shared.errors import TallybookError
from shared.settings import Settings, explain_settings


def _fail(text: str, status: int) -> NoReturn:
    err.print("error:", style="bold red", end=" ")
    err.print(text, markup=False, highlight=False)
    sys.exit(status)


def _of_settings(error: pydantic.ValidationError) -> str:
    """Say which variable is wrong; its value, which may be secret, is not repeated."""
    parts = [
        f"TALLYBOOK_{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
        for one in error.errors()
    ]
    return "; ".join(parts) + "; see: tallybook settings --help"


def _of_postgres(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    cause: BaseException = error
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig
    if isinstance(cause, asyncpg.UndefinedTableError):
        return "the database is not migrated; run: tallybook migrate"
    where = Settings().postgres_host()
    return (
        f"Postgres at {where} does not answer as it should ({type(cause).__name__}: {cause});"
        " is it up, and is TALLYBOOK_DATABASE_URL right?"
    )


cli = typer.Typer(
    name="tallybook",
    help="Meters executions, prices them and invoices them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.command("up")(local_commands.up_command)
cli.command("demo")(local_commands.demo_command)
cli.command("doctor")(local_commands.doctor_command)
cli.add_typer(rater_commands.catalogue, name="catalogue", no_args_is_help=True)
cli.add_typer(rater_commands.customers, name="customers", no_args_is_help=True)
cli.add_typer(rater_commands.contracts, name="contracts", no_args_is_help=True)
cli.command("quote")(quote_commands.quote_command)
cli.command("compare")(quote_commands.compare_command)
cli.command("usage")(usage_command)
cli.add_typer(invoicer_commands.periods, name="periods", no_args_is_help=True)
cli.add_typer(run_commands.runs, name="runs", no_args_is_help=True)
invoicer_commands.invoices.command("carried")(carried_command)
invoicer_commands.invoices.command("detail")(detail_command)
invoicer_commands.invoices.command("void")(following_commands.void_command)
invoicer_commands.invoices.command("credit")(following_commands.credit_command)
invoicer_commands.invoices.command("follow")(following_commands.follow_command)
cli.add_typer(invoicer_commands.invoices, name="invoices", no_args_is_help=True)
cli.command("reconcile")(reconcile_command)
cli.add_typer(alerts, name="alerts", no_args_is_help=True)
cli.command("audit")(audit_command)
cli.command("export", no_args_is_help=True)(export_command)
cli.add_typer(notifying_commands.webhooks, name="webhooks", no_args_is_help=True)
cli.add_typer(ingest_commands.keys, name="keys", no_args_is_help=True)
set_aside_commands.events.command("send")(send_command)
set_aside_commands.events.command("void")(correction_commands.void_command)
set_aside_commands.events.command("show")(whereabouts_commands.show_command)
cli.add_typer(set_aside_commands.events, name="events", no_args_is_help=True)
cli.command("rerate", no_args_is_help=True)(correction_commands.rerate_command)
cli.add_typer(set_aside_commands.dead_letters, name="dead-letters", no_args_is_help=True)
cli.add_typer(set_aside_commands.conflicts, name="conflicts", no_args_is_help=True)
cli.command("sources")(whereabouts_commands.sources_command)


@cli.command("ingest")
def ingest_command() -> None:
    """Run ingest in the foreground."""
    settings = Settings()
    _serve(settings, ingest_app.main(settings))


@cli.command("rater")
def rater_command() -> None:
    """Run the rater in the foreground."""
    settings = Settings()
    _serve(settings, rater_app.main(settings))


@cli.command("invoicer")
def invoicer_command() -> None:
    """Run the invoicer in the foreground."""
    settings = Settings()
    _serve(settings, invoicer_app.main(settings))


def _serve(settings: Settings, service: Coroutine[Any, Any, None]) -> None:
    logs.configure(settings)
    uvloop.run(service)


@cli.command("migrate")
def migrate_command(json: JsonOption = False) -> None:
    """Bring the database to the tables and roles that the code needs; safe to repeat."""
    revision = run(bring_database_up(Settings()))
    show({"revision": revision}, json=json, table=lambda: f"the database is at {revision}")


@cli.command("topics")
def topics_command(json: JsonOption = False) -> None:
    """Make the topic of the usage events if it is missing; safe to repeat."""
    settings = Settings()
    made = run(create_topic(settings))
    show(
        {"topic": settings.usage_topic, "made": made},
        json=json,
        table=lambda: f"{settings.usage_topic}: {'made' if made else 'there already'}",
    )


@cli.command("settings")
def settings_command(json: JsonOption = False) -> None:
    """List all settings with meaning, source and value; secrets are masked."""
    rows = explain_settings()
    show({"settings": rows}, json=json, table=lambda: rows_table(rows, title="Settings", empty=""))


def main() -> None:
    """Run the command line; what a user can act on becomes one line and an exit status."""
    try:
        cli()
    except TallybookError as error:
        _fail(str(error), error.exit_status)
    except pydantic.ValidationError as error:
        _fail(_of_settings(error), 2)
    except (*TRANSIENT, asyncpg.PostgresError, sqlalchemy.exc.DBAPIError) as error:
        _fail(_of_postgres(error), 2)


if __name__ == "__main__":
    main()
