"""The `tallybook` command: a thin layer over the services."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from infra.migrations.migrate import migrate as bring_database_up
from services.ingest import app as ingest_app
from services.rater import app as rater_app
from shared import logs
from shared.broker import create_topic
from shared.console import JsonOption, show
from shared.settings import Settings

cli = typer.Typer(
    name="tallybook",
    help="Meters executions, prices them and invoices them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _serve(main: Callable[[Settings], Awaitable[None]]) -> None:
    settings = Settings()
    logs.configure(settings)
    asyncio.run(main(settings))  # type: ignore[arg-type]


@cli.command("ingest")
def ingest_command() -> None:
    """Run ingest in the foreground."""
    _serve(ingest_app.main)


@cli.command("rater")
def rater_command() -> None:
    """Run the rater in the foreground."""
    _serve(rater_app.main)


@cli.command("migrate")
def migrate_command(json: JsonOption = False) -> None:
    """Bring the database to the tables and roles that the code needs; safe to repeat."""
    revision = asyncio.run(bring_database_up(Settings()))
    show({"revision": revision}, json=json, table=lambda: f"the database is at {revision}")


@cli.command("topics")
def topics_command(json: JsonOption = False) -> None:
    """Make the topic of the usage events if it is missing; safe to repeat."""
    settings = Settings()
    made = asyncio.run(create_topic(settings))
    show(
        {"topic": settings.usage_topic, "made": made},
        json=json,
        table=lambda: f"{settings.usage_topic}: {'made' if made else 'there already'}",
    )


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
