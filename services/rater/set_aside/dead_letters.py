"""Dead letters: listed, written to the log again once the cause is mended, or discarded.

A replayed record is an ordinary record: it becomes an event, a duplicate or a dead letter once
more. As an event's name is unique, a crash between the write and the note of it does no harm.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from services.rater.set_aside.naming import replay_headers
from services.rater.set_aside.reasons import read_reason
from services.rater.set_aside.rewriting import write_again
from shared import audit
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.moments import format_moment
from shared.periods import Period
from shared.settings import Settings
from shared.tables.rater import DeadLetter

MOST = 1000
STATES = ("open", "replayed", "discarded")


async def list_dead_letters(
    session: AsyncSession, *, period: Period | None = None, state: str | None = None
) -> Sequence[DeadLetter]:
    """Give the newest 1,000 dead letters; those of a month of receipt or in a state, if asked."""
    if state is not None and state not in STATES:
        raise InvalidInputError(f"there is no state {state!r}; use one of {', '.join(STATES)}")
    query = select(DeadLetter).order_by(col(DeadLetter.id).desc()).limit(MOST)
    if period is not None:
        received_at = col(DeadLetter.received_at)
        query = query.where(received_at >= period.start, received_at < period.end)
    if state is not None:
        query = query.where(DeadLetter.state == state)
    return (await session.execute(query)).scalars().all()


async def get_dead_letter(session: AsyncSession, letter_id: int) -> DeadLetter:
    """Give a dead letter, or raise `NotFoundError`."""
    return _found(await session.get(DeadLetter, letter_id), letter_id)


async def replay(
    session: AsyncSession, settings: Settings, letter_id: int, *, actor: str, now: datetime
) -> DeadLetter:
    """Write a dead letter's record to the log again, with the same key, value and headers.

    A header more says which dead letter it was. Raises `NotFoundError`,
    `ConflictingStateError` for one that is not open or of which the record was not kept, and
    `KafkaUnavailableError`.
    """
    letter = await _open_letter(session, letter_id)
    if letter.code == "secret_in_payload" or letter.payload is None:
        raise ConflictingStateError(
            f"the record of dead letter {letter_id} was not kept, as it held a secret or nothing;"
            " have its producer send the event again"
        )
    await write_again(
        settings,
        topic=letter.topic,
        key=letter.key,
        value=letter.payload,
        headers=replay_headers(letter.headers, letter_id),
    )
    await _close(session, letter, "replayed", None, actor=actor, now=now)
    return letter


async def discard(
    session: AsyncSession, letter_id: int, *, reason: str, actor: str, now: datetime
) -> DeadLetter:
    """Close a dead letter that is not to be billed; the record stays in the table.

    Raises `NotFoundError`, and `ConflictingStateError` for one that is not open.
    """
    why = read_reason(reason)
    letter = await _open_letter(session, letter_id)
    await _close(session, letter, "discarded", why, actor=actor, now=now)
    return letter


async def _open_letter(session: AsyncSession, letter_id: int) -> DeadLetter:
    """Give an open dead letter, locked until the commit: another's act on it waits."""
    query = select(DeadLetter).where(DeadLetter.id == letter_id).with_for_update()
    letter = _found((await session.execute(query)).scalar_one_or_none(), letter_id)
    if letter.state != "open":
        raise ConflictingStateError(
            f"dead letter {letter_id} was {letter.state} already, at"
            f" {format_moment(letter.closed_at)} by {letter.closed_by}"
        )
    return letter


def _found(letter: DeadLetter | None, letter_id: int) -> DeadLetter:
    if letter is None:
        raise NotFoundError(f"there is no dead letter {letter_id}; see: dead-letters list")
    return letter


async def _close(
    session: AsyncSession,
    letter: DeadLetter,
    state: str,
    why: str | None,
    *,
    actor: str,
    now: datetime,
) -> None:
    letter.state, letter.closed_at, letter.closed_by, letter.why = state, now, actor, why
    await audit.record(
        session,
        actor=actor,
        act="dead_letter.replay" if state == "replayed" else "dead_letter.discard",
        subject=f"dead letter {letter.id}",
        before={"state": "open"},
        after={"state": state, "why": why, "code": letter.code},
    )
    await session.commit()
