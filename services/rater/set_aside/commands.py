"""The commands for what was set aside: waiting events, dead letters, conflicts."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.set_aside import conflicts as book
from services.rater.set_aside import dead_letters as letters
from services.rater.set_aside import documents
from services.rater.set_aside.waiting import waiting_events
from shared.audit import login_name
from shared.console import JsonOption, rows_table, run_in_session, show
from shared.errors import TallybookError, WrongUseError
from shared.periods import Period
from shared.settings import Settings

T = TypeVar("T")

events = typer.Typer(help="Events that were taken in.")
dead_letters = typer.Typer(help="Records of the log that are no events we can take.")
conflicts = typer.Typer(help="Events that came again with other content.")

_LARGEST = 2**63 - 1

LetterId = Annotated[
    int, typer.Argument(metavar="ID", min=0, max=_LARGEST, help="from: dead-letters list")
]
ConflictId = Annotated[
    int, typer.Argument(metavar="ID", min=0, max=_LARGEST, help="from: conflicts list")
]


def _with_session(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    return run_in_session("tallybook_rater", work)


@events.command("waiting")
def events_waiting(json: JsonOption = False) -> None:
    """Show, by customer, the events that no contract covers yet."""
    rows = _with_session(waiting_events)
    show(
        {"waiting": rows},
        json=json,
        table=lambda: rows_table(rows, title="Waiting events", empty="no events wait"),
    )


@dead_letters.command("list")
def dead_letters_list(
    period: Annotated[
        str | None, typer.Option(help="received in this month, such as 2026-10; without: ever")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help=f"{', '.join(letters.STATES)}; without: any")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the newest 1,000 dead letters."""
    month = None if period is None else Period.parse(period)
    found = _with_session(
        lambda session: letters.list_dead_letters(session, period=month, state=state)
    )
    rows = [documents.dead_letter_document(one) for one in found]
    shown = ("id", "received_at", "source", "event", "code", "detail", "state")
    show(
        {"dead_letters": rows},
        json=json,
        table=lambda: rows_table(
            [{name: row[name] for name in shown} for row in rows],
            title="Dead letters",
            empty="no dead letters",
        ),
    )


@dead_letters.command("show")
def dead_letters_show(letter_id: LetterId, json: JsonOption = False) -> None:
    """Show a dead letter with the record as it was, where that holds no secret."""
    letter = _with_session(lambda session: letters.get_dead_letter(session, letter_id))
    document = documents.dead_letter_document(letter, whole=True)
    rows = [{"what": name, "value": value} for name, value in document.items()]
    show(document, json=json, table=lambda: rows_table(rows, title="Dead letter", empty=""))


@dead_letters.command("replay")
def dead_letters_replay(
    letter_ids: Annotated[
        list[int],
        typer.Argument(metavar="ID", min=0, max=_LARGEST, help="from: dead-letters list"),
    ],
    json: JsonOption = False,
) -> None:
    """Write records to the log again once their cause is mended; exit 1 if one could not be."""
    settings, actor = Settings(), login_name()

    async def work(session: AsyncSession) -> list[documents.Document]:
        rows: list[documents.Document] = []
        for letter_id in dict.fromkeys(letter_ids):
            try:
                await letters.replay(
                    session, settings, letter_id, actor=actor, now=datetime.now(UTC)
                )
            except TallybookError as error:
                await session.rollback()
                rows.append({"id": letter_id, "replayed": False, "detail": str(error)})
            else:
                rows.append({"id": letter_id, "replayed": True, "detail": None})
        return rows

    rows = _with_session(work)
    show(
        {"dead_letters": rows},
        json=json,
        table=lambda: rows_table(rows, title="Replay", empty=""),
    )
    if not all(row["replayed"] for row in rows):
        raise typer.Exit(1)


@dead_letters.command("discard")
def dead_letters_discard(
    letter_id: LetterId,
    why: Annotated[str, typer.Option(help="the reason, kept with the dead letter")],
    json: JsonOption = False,
) -> None:
    """Close a dead letter that is not to be billed; the record stays."""
    letter = _with_session(
        lambda session: letters.discard(
            session, letter_id, reason=why, actor=login_name(), now=datetime.now(UTC)
        )
    )
    document = documents.dead_letter_document(letter)
    show(document, json=json, table=lambda: f"dead letter {letter_id} is discarded")


@conflicts.command("list")
def conflicts_list(
    only_open: Annotated[bool, typer.Option("--open", help="unresolved ones only")] = False,
    json: JsonOption = False,
) -> None:
    """List the newest 1,000 conflicts."""
    found = _with_session(lambda session: book.list_conflicts(session, only_open=only_open))
    rows = [documents.conflict_document(one) for one in found]
    show(
        {"conflicts": rows},
        json=json,
        table=lambda: rows_table(rows, title="Conflicts", empty="no conflicts"),
    )


@conflicts.command("show")
def conflicts_show(conflict_id: ConflictId, json: JsonOption = False) -> None:
    """Show both versions of an event side by side, and what they differ in."""
    whole = _with_session(lambda session: book.get_conflict(session, conflict_id))
    document = documents.whole_conflict_document(whole)
    stored, other = document["stored"], document["other"]
    differing = [
        {"": one["pointer"], "stored": one["stored"], "other": one["other"]}
        for one in document["differences"]
    ]
    places = [
        {"": name, "stored": stored[name], "other": other[name]}
        for name in ("received_at", "partition", "offset")
    ]
    title = f"Event {document['event']} of {document['source']} ({document['state']})"
    show(
        document,
        json=json,
        table=lambda: rows_table([*differing, *places], title=title, empty=""),
    )


@conflicts.command("resolve")
def conflicts_resolve(
    conflict_id: ConflictId,
    why: Annotated[str, typer.Option(help="the reason, kept with the conflict")],
    keep: Annotated[bool, typer.Option("--keep", help="the stored version stands")] = False,
    take: Annotated[bool, typer.Option("--take", help="the other version takes its place")] = False,
    json: JsonOption = False,
) -> None:
    """Decide which version of an event counts; what that changes is posted by new line items."""
    if keep == take:
        raise WrongUseError("say --keep or --take")
    decision: book.Decision = "keep" if keep else "take"
    resolved = _with_session(
        lambda session: book.resolve(
            session,
            conflict_id,
            decision,
            reason=why,
            actor=login_name(),
            now=datetime.now(UTC),
        )
    )
    document = documents.resolved_document(resolved)
    title = f"conflict {conflict_id}: {document['state']}"
    show(
        document,
        json=json,
        table=lambda: rows_table(
            document["line_items"], title=title, empty=f"{title}; nothing was posted"
        ),
    )
