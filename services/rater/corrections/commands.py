"""The commands that take events back, and that rate months again."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.corrections import documents, rerating, voiding
from shared.audit import login_name
from shared.console import JsonOption, err, rows_table, run_in_session, show
from shared.errors import WrongUseError
from shared.moments import parse_moment
from shared.periods import Period
from shared.progress import bar


def void_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="the events' source")],
    event_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="one event; or a range by --from and --to")
    ] = None,
    why: Annotated[str, typer.Option(help="the reason, kept with the events")] = "",
    since: Annotated[str | None, typer.Option("--from", help="first moment of the range")] = None,
    until: Annotated[str | None, typer.Option("--to", help="first moment after the range")] = None,
    json: JsonOption = False,
) -> None:
    """Take an event back, or all events of a source in a range of time; it costs nothing then.

    To amend an event, void it and send the right one under a new id.
    """
    if (event_id is None) == (since is None and until is None) or (since is None) != (
        until is None
    ):
        raise WrongUseError("name one event by its id, or a range by both --from and --to")
    now, actor = datetime.now(UTC), login_name()

    async def work(session: AsyncSession) -> voiding.Voided:
        if event_id is not None:
            return await voiding.void_event(
                session, source=source, event_id=event_id, reason=why, actor=actor, now=now
            )
        return await voiding.void_events(
            session,
            source=source,
            since=parse_moment(since or ""),
            until=parse_moment(until or ""),
            reason=why,
            actor=actor,
            now=now,
        )

    document = documents.voided_document(run_in_session("tallybook_rater", work))
    title = f"{document['voided']} events voided"
    show(
        document,
        json=json,
        table=lambda: rows_table(document["line_items"], title=title, empty=f"{title}; none cost"),
    )


def rerate_command(
    customer_id: Annotated[
        str | None, typer.Argument(metavar="[CUSTOMER]", help="whose; with --check: or everyone's")
    ] = None,
    period: Annotated[
        str | None, typer.Option(help="a month such as 2026-10; with --check: or all")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="only compare; exit 1 where the books are wrong")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Rate a customer's month again from its events; nothing is posted when all is well."""
    month = None if period is None else Period.parse(period)
    if check:
        _check(customer_id, month, json=json)
        return
    if customer_id is None or month is None:
        raise WrongUseError("name the customer and the month (--period), or only --check")
    posted = run_in_session(
        "tallybook_rater",
        lambda session: rerating.rerate(session, customer_id, month, actor=login_name()),
    )
    rows = documents.line_item_documents(posted)
    show(
        {"customer": customer_id, "period": period, "line_items": rows},
        json=json,
        table=lambda: rows_table(rows, title="Posted", empty="all is well; nothing was posted"),
    )


def _check(customer_id: str | None, period: Period | None, *, json: bool) -> None:
    async def work(session: AsyncSession) -> rerating.Checked:
        await rerating.begin_snapshot(session)
        events = await rerating.count_events(session, customer_id, period)
        with bar(err, "counting events", events) as shown:
            return await rerating.check_books(session, customer_id, period, shown.advance)

    checked = run_in_session("tallybook_rater", work)
    document = documents.checked_document(checked)
    looked_at = f"{checked.events:,} events in {checked.months:,} contract months"
    show(
        document,
        json=json,
        table=lambda: rows_table(
            document["findings"], title=looked_at, empty=f"{looked_at}: all is well"
        ),
    )
    if checked.findings:
        raise typer.Exit(1)
