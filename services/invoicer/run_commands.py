"""The commands for invoice runs: what would be sent, what is sent, and where it stands.

They work on the database by the same functions as the HTTP interface, and print the same JSON.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer import planning, sending, steering
from services.invoicer import runs as book
from services.invoicer.arguments import ROLE, PeriodArgument, chosen, say, with_engine
from services.invoicer.diffing import diff_runs
from services.invoicer.preview_documents import PreviewDocument, preview_document
from services.invoicer.run_documents import (
    DiffDocument,
    RunDocument,
    WholeRunDocument,
    diff_document,
    run_document,
    whole_run_document,
)
from services.invoicer.stripe_gateway import StripeGateway
from shared import logs
from shared.audit import login_name
from shared.clock import present
from shared.console import JsonOption, err, rows_table, run_in_session, show
from shared.progress import bar
from shared.settings import Settings
from shared.tables.invoicer import Invoice
from shared.tracing import start_tracing

runs = typer.Typer(help="Month-end invoice runs.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="a run's id, such as run_2026-10")]


@runs.command("preview")
def runs_preview(period: PeriodArgument, json: JsonOption = False) -> None:
    """Show what each invoice of a month would be now; nothing is written or sent."""

    async def read(settings: Settings, engine: AsyncEngine) -> PreviewDocument:
        async with AsyncSession(engine) as session:
            return preview_document(await planning.preview(session, period, settings))

    document = with_engine(read)
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
            title=f"Invoices of {period}, {'closed' if document['closed'] else 'not closed yet'}",
            empty=f"no line items are posted to {period}",
        ),
    )
    for one in document["absent"]:
        say(f"{one['customer']} had {one['last_month']} {one['currency']} last month, now nothing")
    for left in document["carried_left"]:
        say(
            f"{left['customer']} has {left['amount']} {left['currency']} carried forward since"
            f" {left['since']}, and no contract any more; see: invoices carried"
        )
    for sentence in _unsettled(document):
        say(sentence)


def _unsettled(document: PreviewDocument) -> list[str]:
    """Say what is on no invoice, and where to look."""
    under_way = document["events_under_way"]
    sentences = {
        f"{document['unpriced_events']} events have no contract; see: events waiting": bool(
            document["unpriced_events"]
        ),
        f"{document['open_conflicts']} conflicts are undecided; see: conflicts list": bool(
            document["open_conflicts"]
        ),
        f"{document['open_dead_letters']} dead letters are open; see: dead-letters list": bool(
            document["open_dead_letters"]
        ),
        f"{under_way} events on the log are not rated yet": bool(under_way),
        "Kafka does not answer: events may be on the log that are not rated": under_way is None,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


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
            settings, engine, period, actor=actor, clock=present, on_progress=say
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


@runs.command("diff")
def runs_diff(
    run_id: RunId,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="another run than last month's")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show who is invoiced otherwise than in another run, by default last month's."""

    async def read(session: AsyncSession) -> DiffDocument:
        run = await book.get_run(session, run_id)
        other = (
            await book.run_before(session, run)
            if against is None
            else await book.get_run(session, against)
        )
        changed = diff_runs(
            await book.list_invoices(session, run_id=other.id),
            await book.list_invoices(session, run_id=run_id),
        )
        return diff_document(run_id, other.id, changed)

    document = run_in_session(ROLE, read)
    title = f"{run_id} against {document['against']}"
    show(
        document,
        json=json,
        table=lambda: rows_table(
            chosen(document["changed"], "customer", "currency", "before", "after", "change"),
            title=title,
            empty=f"{title}: every total is the same",
        ),
    )


@runs.command("approve")
def runs_approve(
    run_id: RunId,
    payload_sha256: Annotated[
        str | None,
        typer.Option("--hash", metavar="SHA256", help="the run's hash, as you looked at it"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Approve what a run holds: just that is sent. Without a hash, what it holds now."""

    async def approve(settings: Settings, engine: AsyncEngine) -> WholeRunDocument:
        await steering.approve(
            engine,
            run_id,
            payload_sha256=payload_sha256,
            approval_by=settings.approval_by,
            actor=login_name(),
            clock=present,
        )
        return await _read_run(engine, run_id)

    _show_run(with_engine(approve), json=json, must_be_done=False)


@runs.command("send")
def runs_send(run_id: RunId, json: JsonOption = False) -> None:
    """Send a run to Stripe, or what is left of it; safe to repeat. Exit 1 if any failed."""
    _show_run(_sent(run_id, resume=False), json=json, must_be_done=True)


@runs.command("resume")
def runs_resume(run_id: RunId, json: JsonOption = False) -> None:
    """Go on with a run, also with a paused one; otherwise the same as `send`."""
    _show_run(_sent(run_id, resume=True), json=json, must_be_done=True)


def _sent(run_id: str, *, resume: bool) -> WholeRunDocument:
    async def send(settings: Settings, engine: AsyncEngine) -> WholeRunDocument:
        await _send(settings, engine, run_id, resume=resume)
        return await _read_run(engine, run_id)

    return with_engine(send)


@runs.command("pause")
def runs_pause(
    run_id: RunId,
    why: Annotated[str, typer.Option(help="why, for the audit trail")] = "stopped by hand",
    json: JsonOption = False,
) -> None:
    """Stop a run that is being sent, wherever that is, after the invoices that are under way."""

    async def pause(_settings: Settings, engine: AsyncEngine) -> WholeRunDocument:
        await steering.pause(engine, run_id, why=why, actor=login_name())
        return await _read_run(engine, run_id)

    _show_run(with_engine(pause), json=json, must_be_done=False)


@runs.command("list")
def runs_list(json: JsonOption = False) -> None:
    """List all runs, the newest month first."""

    async def read(session: AsyncSession) -> list[RunDocument]:
        found = await book.list_runs(session)
        return [run_document(one, await book.count_states(session, one.id)) for one in found]

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


async def _send(
    settings: Settings, engine: AsyncEngine, run_id: str, *, resume: bool = False
) -> None:
    logs.configure(settings)
    begun = await steering.begin(
        engine, run_id, approval_by=settings.approval_by, actor=login_name(), resume=resume
    )
    if begun.state == "done":
        return
    async with AsyncSession(engine) as session:
        count = await sending.count_to_send(session, run_id)
    with (
        closing(start_tracing("tallybook-invoicer")) as tracing,
        bar(err, "invoices", count) as shown,
    ):

        def on_progress(invoice: Invoice) -> None:
            shown.advance()
            if invoice.last_error is not None:
                say(f"{invoice.customer_id}: {invoice.state}: {invoice.last_error}")

        async with StripeGateway(settings) as gateway:
            run = await sending.Sender(
                engine,
                gateway,
                workers=settings.invoicer_workers,
                days_until_due=settings.days_until_due,
                tracing=tracing,
            ).send(run_id, on_progress=on_progress)
    if run.paused_because is not None:
        say(f"{run_id} is paused: {run.paused_because}; to go on: runs resume {run_id}")


async def _read_run(engine: AsyncEngine, run_id: str) -> WholeRunDocument:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        return whole_run_document(
            await book.get_run(session, run_id),
            await book.count_states(session, run_id),
            await book.list_invoices(session, run_id=run_id),
        )


def _show_run(document: WholeRunDocument, *, json: bool, must_be_done: bool) -> None:
    rows = chosen(document["invoices"], "customer", "currency", "total", "state", "last_error")
    title = f"{document['id']} is {document['state']}: {_counts(document['states'])}"
    if document["paused_because"] is not None:
        title += f" ({document['paused_because']})"
    title += f"\nhash {document['payload_sha256']}, {_approval(document)}"
    show(document, json=json, table=lambda: rows_table(rows, title=title, empty=title))
    if must_be_done and document["state"] != "done":
        raise typer.Exit(1)


def _approval(document: WholeRunDocument) -> str:
    if document["approved_by"] is None:
        return "not approved"
    return f"approved by {document['approved_by']}"


def _counts(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items()) or "no invoices"
