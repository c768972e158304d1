"""Conflicts: versions of an event that differ from the stored one, and which of them counts.

All versions are kept, whatever is decided. To keep is to let the stored version stand. To take
is to let the two change places: the months that either touches are counted anew, and what that
changes is posted by new line items (I3, I5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from services.rater.posting import LineItem
from services.rater.repricing import Month, count_and_reprice
from services.rater.rules import Rules, begin_posting, know_customers, lock_posting
from services.rater.set_aside.reasons import read_reason
from services.rater.set_aside.versions import Version
from shared import audit
from shared.database import asyncpg_connection
from shared.errors import ConflictingStateError, NotFoundError
from shared.moments import format_moment
from shared.periods import Period
from shared.tables.rater import Conflict

MOST = 1000

Decision = Literal["keep", "take"]
_STATES: dict[Decision, str] = {"keep": "kept", "take": "taken"}

_VERSIONS = text(
    "SELECT type, customer_id, time, data::text, partition, log_offset, received_at"
    " FROM events WHERE source = :source AND id = :event_id"
    " UNION ALL SELECT type, customer_id, time, data::text, partition, log_offset, received_at"
    " FROM conflicts WHERE id = :id"
)
_EVENT = text(
    "SELECT customer_id, time, contract_id, voided FROM events"
    " WHERE source = :source AND id = :event_id FOR UPDATE"
)


@dataclass(frozen=True, slots=True)
class WholeConflict:
    """A conflict with both versions: the one that is stored now, and the other one."""

    conflict: Conflict
    stored: Version
    other: Version


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was decided: the conflict, how many of its kind, and the line items posted."""

    conflict: Conflict
    count: int
    batch_id: int | None
    items: Sequence[LineItem]


async def list_conflicts(session: AsyncSession, *, only_open: bool = False) -> Sequence[Conflict]:
    """Give the newest conflicts, at most 1,000: all, or those that are not resolved."""
    query = select(Conflict).order_by(col(Conflict.id).desc()).limit(MOST)
    if only_open:
        query = query.where(Conflict.state == "open")
    return (await session.execute(query)).scalars().all()


async def get_conflict(session: AsyncSession, conflict_id: int) -> WholeConflict:
    """Give a conflict with both versions, or raise `NotFoundError`."""
    conflict = _found(await session.get(Conflict, conflict_id), conflict_id)
    name = {"source": conflict.source, "event_id": conflict.event_id}
    rows = (await session.execute(_VERSIONS, {**name, "id": conflict_id})).all()
    stored, other = (Version(*row) for row in rows)
    return WholeConflict(conflict, stored, other)


async def resolve(
    session: AsyncSession,
    conflict_id: int,
    decision: Decision,
    *,
    reason: str,
    actor: str,
    now: datetime,
) -> Resolved:
    """Decide which version of an event counts; open conflicts of the same content go with it.

    Raises `NotFoundError`, and `ConflictingStateError` for a conflict that is resolved already,
    or where the version of an event is to be taken that was voided.
    """
    why = read_reason(reason)
    if decision == "take":
        await lock_posting(session)
    query = select(Conflict).where(Conflict.id == conflict_id).with_for_update()
    conflict = _found((await session.execute(query)).scalar_one_or_none(), conflict_id)
    if conflict.state != "open":
        raise ConflictingStateError(
            f"conflict {conflict_id} was resolved already ({conflict.state}), at"
            f" {format_moment(conflict.resolved_at)} by {conflict.resolved_by}"
        )
    digest, before = conflict.digest, await _contents(session, conflict_id)
    batch_id, items = None, list[LineItem]()
    if decision == "take":
        batch_id, items = await _take(session, conflict)
    alike = (
        select(Conflict)
        .where(
            Conflict.source == conflict.source,
            Conflict.event_id == conflict.event_id,
            Conflict.state == "open",
            (Conflict.digest == digest) | (Conflict.id == conflict_id),
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    resolved = (await session.execute(alike)).scalars().all()
    for one in resolved:
        one.state, one.resolved_at, one.resolved_by, one.why = _STATES[decision], now, actor, why
    await audit.record(
        session,
        actor=actor,
        act="conflict.resolve",
        subject=f"event {conflict.source} {conflict.event_id}",
        before=before,
        after={
            "conflict": conflict_id,
            "decision": decision,
            "why": why,
            "conflicts": len(resolved),
            "batch_id": batch_id,
        },
    )
    await session.commit()
    return Resolved(conflict, len(resolved), batch_id, items)


def _found(conflict: Conflict | None, conflict_id: int) -> Conflict:
    if conflict is None:
        raise NotFoundError(f"there is no conflict {conflict_id}; see: conflicts list")
    return conflict


async def _contents(session: AsyncSession, conflict_id: int) -> dict[str, object]:
    whole = await get_conflict(session, conflict_id)
    return {
        name: {"partition": one.partition, "offset": one.offset, "time": format_moment(one.time)}
        for name, one in (("stored", whole.stored), ("other", whole.other))
    }


async def _take(session: AsyncSession, conflict: Conflict) -> tuple[int, list[LineItem]]:
    """Let the versions change places, and bring the months that they touch to what is due."""
    name = {"source": conflict.source, "event_id": conflict.event_id}
    event = (await session.execute(_EVENT, name)).one()
    if event.voided:
        raise ConflictingStateError(
            f"event {conflict.event_id!r} of source {conflict.source!r} was voided, and counts for"
            " nothing whichever version stands; keep the stored one"
        )
    connection = await asyncpg_connection(session)
    rules = Rules()
    state = await begin_posting(connection, rules)
    await know_customers(connection, rules, {event.customer_id, conflict.customer_id})
    contract = rules.contract_at(conflict.customer_id, conflict.time)
    contract_id = None if contract is None else contract.id
    await connection.execute("SELECT take_conflict($1)", conflict.id)
    await connection.execute(
        "UPDATE events SET contract_id = $3, batch_id = $4 WHERE source = $1 AND id = $2",
        conflict.source,
        conflict.event_id,
        contract_id,
        state.batch_id,
    )
    touched = ((event.contract_id, event.time), (contract_id, conflict.time))
    months: set[Month] = {(one, str(Period.of(time))) for one, time in touched if one is not None}
    return state.batch_id, await count_and_reprice(connection, rules, state, months)
