"""Takes events back: an event that was voided counts for nothing from then on.

Line items that stand are never touched: new ones take each contract's month to f of the usage
that is left, also across a tier's edge; for a closed month they go onto the open one (I5, I7).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.posting import LineItem
from services.rater.repricing import count_and_reprice
from services.rater.rules import Rules, begin_posting, lock_posting
from shared import audit
from shared.database import Connection, asyncpg_connection
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.moments import format_moment
from shared.periods import Period

_LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Voided:
    """What was voided: how many events, and the line items that undo what they cost."""

    events: int
    batch_id: int
    items: Sequence[LineItem]


async def void_event(
    session: AsyncSession, *, source: str, event_id: str, reason: str, actor: str, now: datetime
) -> Voided:
    """Void one event.

    Raises `NotFoundError` for one that is not stored, and `ConflictingStateError` for one that
    was voided before.
    """
    why = _reason(reason)
    await lock_posting(session)
    connection = await asyncpg_connection(session)
    taken = await connection.fetch(
        "UPDATE events SET voided = true WHERE source = $1 AND id = $2 AND NOT voided"
        " RETURNING id, contract_id, time",
        source,
        event_id,
    )
    if not taken:
        await _explain(connection, source, event_id)
    subject = f"event {source} {event_id}"
    return await _undo(session, source, taken, why, actor, now, subject=subject)


async def void_events(
    session: AsyncSession,
    *,
    source: str,
    since: datetime,
    until: datetime,
    reason: str,
    actor: str,
    now: datetime,
) -> Voided:
    """Void all events of a source whose time lies in a half-open range.

    Those that were voided before stay so. Raises `NotFoundError` where there is none to void.
    """
    why = _reason(reason)
    if since >= until:
        raise InvalidInputError("the range ends before it begins")
    await lock_posting(session)
    connection = await asyncpg_connection(session)
    taken = await connection.fetch(
        "UPDATE events SET voided = true WHERE source = $1 AND time >= $2 AND time < $3"
        " AND NOT voided RETURNING id, contract_id, time",
        source,
        since,
        until,
    )
    span = f"from {format_moment(since)} to before {format_moment(until)}"
    if not taken:
        raise NotFoundError(f"source {source!r} has no events {span} that are not voided already")
    subject = f"events of {source} {span}"
    return await _undo(session, source, taken, why, actor, now, subject=subject)


def _reason(reason: str) -> str:
    why = reason.strip()
    if not why or len(why) > _LONGEST_REASON:
        raise InvalidInputError(f"say why, in 1 to {_LONGEST_REASON} characters")
    return why


async def _explain(connection: Connection, source: str, event_id: str) -> None:
    """Say why there was nothing to void."""
    known = await connection.fetchrow(
        "SELECT voided_at, voided_by, reason FROM voids WHERE source = $1 AND event_id = $2",
        source,
        event_id,
    )
    if known is None:
        raise NotFoundError(
            f"there is no event {event_id!r} of source {source!r} in the books; one that was"
            " accepted just now may still be on its way"
        )
    raise ConflictingStateError(
        f"event {event_id!r} of source {source!r} was voided already, at"
        f" {format_moment(known['voided_at'])} by {known['voided_by']}: {known['reason']}"
    )


async def _undo(
    session: AsyncSession,
    source: str,
    taken: Collection[Any],
    reason: str,
    actor: str,
    now: datetime,
    *,
    subject: str,
) -> Voided:
    connection = await asyncpg_connection(session)
    rules = Rules()
    state = await begin_posting(connection, rules)
    await connection.execute(
        "INSERT INTO voids (source, event_id, reason, voided_by, voided_at, batch_id)"
        " SELECT $1, event_id, $3, $4, $5, $6 FROM unnest($2::text[]) AS event_id",
        source,
        [row["id"] for row in taken],
        reason,
        actor,
        now,
        state.batch_id,
    )
    months = {
        (row["contract_id"], str(Period.of(row["time"])))
        for row in taken
        if row["contract_id"] is not None
    }
    items = await count_and_reprice(connection, rules, state, months)
    await audit.record(
        session,
        actor=actor,
        act="event.void",
        subject=subject,
        after={"events": len(taken), "reason": reason, "batch_id": state.batch_id},
    )
    await session.commit()
    return Voided(len(taken), state.batch_id, items)
