"""Every command of the command line, by its name.

The modules of a command are imported only once it is asked for: importing all of them takes
longer than most commands do.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import typer
import uvloop

from shared.settings import Settings

Add = Callable[[typer.Typer], None]


def command_line(asked: str | None = None) -> typer.Typer:
    """Give the command line with all commands, or with what belongs to the one `asked` for."""
    cli = typer.Typer(
        name="tallybook",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @cli.callback()
    def tallybook() -> None:
        """Meters executions, prices them and invoices them."""

    is_known = any(asked in names for names in _COMMANDS)
    for names, add in _COMMANDS.items():
        if asked in names or not is_known:
            add(cli)
    return cli


def _add_local(cli: typer.Typer) -> None:
    from infra.local import commands

    cli.command("up")(commands.up_command)
    cli.command("demo")(commands.demo_command)
    cli.command("doctor")(commands.doctor_command)


def _add_terms(cli: typer.Typer) -> None:
    from services.rater import commands

    cli.add_typer(commands.catalogue, name="catalogue", no_args_is_help=True)
    cli.add_typer(commands.customers, name="customers", no_args_is_help=True)
    cli.add_typer(commands.contracts, name="contracts", no_args_is_help=True)


def _add_quotes(cli: typer.Typer) -> None:
    from services.rater.quotes import commands

    cli.command("quote")(commands.quote_command)
    cli.command("compare")(commands.compare_command)


def _add_usage(cli: typer.Typer) -> None:
    from services.rater.usage.commands import usage_command

    cli.command("usage")(usage_command)


def _add_periods(cli: typer.Typer) -> None:
    from services.invoicer.commands import periods

    cli.add_typer(periods, name="periods", no_args_is_help=True)


def _add_runs(cli: typer.Typer) -> None:
    from services.invoicer.run_commands import runs

    cli.add_typer(runs, name="runs", no_args_is_help=True)


def _add_invoices(cli: typer.Typer) -> None:
    from services.invoicer.carried.commands import carried_command
    from services.invoicer.commands import invoices
    from services.invoicer.detail.commands import detail_command
    from services.invoicer.following import commands as following

    invoices.command("carried")(carried_command)
    invoices.command("detail")(detail_command)
    invoices.command("void")(following.void_command)
    invoices.command("credit")(following.credit_command)
    invoices.command("follow")(following.follow_command)
    cli.add_typer(invoices, name="invoices", no_args_is_help=True)


def _add_reconcile(cli: typer.Typer) -> None:
    from services.invoicer.reconciliation.commands import reconcile_command

    cli.command("reconcile")(reconcile_command)


def _add_alerts(cli: typer.Typer) -> None:
    from services.invoicer.alerts.commands import alerts

    cli.add_typer(alerts, name="alerts", no_args_is_help=True)


def _add_audit(cli: typer.Typer) -> None:
    from services.invoicer.auditing.commands import audit_command

    cli.command("audit")(audit_command)


def _add_export(cli: typer.Typer) -> None:
    from services.invoicer.exporting.commands import export_command

    cli.command("export", no_args_is_help=True)(export_command)


def _add_webhooks(cli: typer.Typer) -> None:
    from services.invoicer.notifying.commands import webhooks

    cli.add_typer(webhooks, name="webhooks", no_args_is_help=True)


def _add_keys(cli: typer.Typer) -> None:
    from services.ingest.commands import keys

    cli.add_typer(keys, name="keys", no_args_is_help=True)


def _add_events(cli: typer.Typer) -> None:
    from services.ingest.sending.commands import send_command
    from services.ingest.whereabouts.commands import show_command
    from services.rater.corrections.commands import void_command
    from services.rater.set_aside.commands import events

    events.command("send")(send_command)
    events.command("void")(void_command)
    events.command("show")(show_command)
    cli.add_typer(events, name="events", no_args_is_help=True)


def _add_rerate(cli: typer.Typer) -> None:
    from services.rater.corrections.commands import rerate_command

    cli.command("rerate", no_args_is_help=True)(rerate_command)


def _add_set_aside(cli: typer.Typer) -> None:
    from services.rater.set_aside import commands

    cli.add_typer(commands.dead_letters, name="dead-letters", no_args_is_help=True)
    cli.add_typer(commands.conflicts, name="conflicts", no_args_is_help=True)


def _add_sources(cli: typer.Typer) -> None:
    from services.ingest.whereabouts.commands import sources_command

    cli.command("sources")(sources_command)


def _add_ingest(cli: typer.Typer) -> None:
    from services.ingest.app import main

    @cli.command("ingest")
    def ingest_command() -> None:
        """Run ingest in the foreground."""
        _serve(main)


def _add_rater(cli: typer.Typer) -> None:
    from services.rater.app import main

    @cli.command("rater")
    def rater_command() -> None:
        """Run the rater in the foreground."""
        _serve(main)


def _add_invoicer(cli: typer.Typer) -> None:
    from services.invoicer.app import main

    @cli.command("invoicer")
    def invoicer_command() -> None:
        """Run the invoicer in the foreground."""
        _serve(main)


def _serve(service: Callable[[Settings], Coroutine[Any, Any, None]]) -> None:
    from shared import logs

    settings = Settings()
    logs.configure(settings)
    uvloop.run(service(settings))


def _add_set_up(cli: typer.Typer) -> None:
    from infra.migrations.migrate import migrate
    from shared.broker import create_topic
    from shared.console import JsonOption, run, show

    @cli.command("migrate")
    def migrate_command(json: JsonOption = False) -> None:
        """Bring the database to the tables and roles that the code needs; safe to repeat."""
        revision = run(migrate(Settings()))
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


def _add_settings(cli: typer.Typer) -> None:
    from shared.console import JsonOption, rows_table, show
    from shared.settings import explain_settings

    @cli.command("settings")
    def settings_command(json: JsonOption = False) -> None:
        """List all settings with meaning, source and value; secrets are masked."""
        rows = explain_settings()
        show(
            {"settings": rows},
            json=json,
            table=lambda: rows_table(rows, title="Settings", empty=""),
        )


_COMMANDS: dict[tuple[str, ...], Add] = {
    ("up", "demo", "doctor"): _add_local,
    ("catalogue", "customers", "contracts"): _add_terms,
    ("quote", "compare"): _add_quotes,
    ("usage",): _add_usage,
    ("periods",): _add_periods,
    ("runs",): _add_runs,
    ("invoices",): _add_invoices,
    ("reconcile",): _add_reconcile,
    ("alerts",): _add_alerts,
    ("audit",): _add_audit,
    ("export",): _add_export,
    ("webhooks",): _add_webhooks,
    ("keys",): _add_keys,
    ("events",): _add_events,
    ("rerate",): _add_rerate,
    ("dead-letters", "conflicts"): _add_set_aside,
    ("sources",): _add_sources,
    ("ingest",): _add_ingest,
    ("rater",): _add_rater,
    ("invoicer",): _add_invoicer,
    ("migrate", "topics"): _add_set_up,
    ("settings",): _add_settings,
}
"""In the order in which `--help` lists them."""
