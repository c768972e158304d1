"""Closes a month: from then on it gains no line item (I7).

The ends of the log are captured, the rater is waited for until it has passed them, and the
period is locked under the same lock that every posting holds.
"""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlmodel import col, select

from shared import audit
from shared.broker import end_offsets
from shared.clock import Clock
from shared.database import POSTING_LOCK
from shared.errors import ConflictingStateError, UnavailableError
from shared.periods import Period
from shared.settings import Settings
from shared.tables.invoicer import PeriodState

Progress = Callable[[str], None]

_BEHIND = text(
    "SELECT e.partition::int AS partition, e.next::bigint - coalesce(o.next, 0) AS behind"
    " FROM jsonb_each_text(CAST(:ends AS jsonb)) AS e (partition, next)"
    " LEFT JOIN offsets o ON o.topic = :topic AND o.partition = e.partition::int"
    " WHERE e.next::bigint > coalesce(o.next, 0) ORDER BY 1"
)
_UNOPENED = text(
    "SELECT count(*) FROM contracts c WHERE c.starts_at < :end"
    " AND (c.ends_at IS NULL OR c.ends_at > :start) AND NOT EXISTS (SELECT FROM contract_months m"
    " WHERE m.contract_id = c.id AND m.period = :period)"
)
_EARLIER = text(
    "SELECT min(posting_period) FROM line_items WHERE posting_period < :period AND NOT EXISTS"
    " (SELECT FROM periods WHERE state = 'closed' AND periods.period >= posting_period)"
)
_WAITING = text(
    "SELECT count(*) FROM events e JOIN contracts c ON c.customer_id = e.customer_id"
    " WHERE e.contract_id IS NULL AND NOT e.voided AND e.time < :end"
    " AND e.time >= c.starts_at AND (c.ends_at IS NULL OR e.time < c.ends_at)"
)


class RaterBehindError(UnavailableError):
    """The rater has not caught up with what was on the log when the close began."""

    code = "rater_behind"


async def list_periods(session: AsyncSession) -> list[PeriodState]:
    """Give the periods that are being closed or are closed, the newest first."""
    query = select(PeriodState).order_by(col(PeriodState.period).desc())
    return list((await session.execute(query)).scalars().all())


async def close_period(
    settings: Settings,
    engine: AsyncEngine,
    period: Period,
    *,
    actor: str,
    clock: Clock,
    on_progress: Progress = lambda _text: None,
) -> PeriodState:
    """Close a month that is over; closing a closed one changes nothing.

    Raises `ConflictingStateError` for a month that is not over and `RaterBehindError` where
    the rater does not catch up in time; the close can then simply be asked for again.
    """
    if clock() < period.end:
        raise ConflictingStateError(
            f"{period} is not over before {period.end:%FT%TZ}, and cannot be closed yet"
        )
    async with AsyncSession(engine, expire_on_commit=False) as session:
        known = await session.get(PeriodState, str(period))
        if known is not None and known.state == "closed":
            return known
        if earlier := await session.scalar(_EARLIER, {"period": str(period)}):
            raise ConflictingStateError(
                f"{earlier} has usage or fees and is not closed; months are closed in their order"
            )
    ends = await end_offsets(settings)
    if not ends:
        raise UnavailableError(
            f"there is no topic {settings.usage_topic!r} at Kafka, so nobody can tell whether all"
            " usage is rated; is TALLYBOOK_USAGE_TOPIC right?"
        )
    await _note_closing(engine, period, ends, clock())
    await _wait_for_rater(settings, engine, period, ends, on_progress)
    return await _lock(engine, period, actor, clock)


async def _note_closing(
    engine: AsyncEngine, period: Period, ends: dict[int, int], now: datetime
) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO periods (period, state, end_offsets, closing_at)"
                " VALUES (:period, 'closing', CAST(:ends AS jsonb), :now)"
                " ON CONFLICT (period) DO UPDATE SET end_offsets = excluded.end_offsets"
                " WHERE periods.state = 'closing'"
            ),
            {"period": str(period), "ends": json.dumps(ends), "now": now},
        )


async def _wait_for_rater(
    settings: Settings,
    engine: AsyncEngine,
    period: Period,
    ends: dict[int, int],
    on_progress: Progress,
) -> None:
    deadline = time.monotonic() + settings.close_wait_seconds
    while waiting := await _what_waits(settings, engine, period, ends):
        if time.monotonic() > deadline:
            raise RaterBehindError(
                f"{period} is not closed: {waiting}; see that the rater runs, then close again"
            )
        on_progress(f"waiting: {waiting}")
        await asyncio.sleep(0.2)


async def _what_waits(
    settings: Settings, engine: AsyncEngine, period: Period, ends: dict[int, int]
) -> str | None:
    """Say what the rater has still to do before the period can be locked."""
    month = {"start": period.start, "end": period.end}
    async with engine.connect() as connection:
        parameters = {"ends": json.dumps(ends), "topic": settings.usage_topic}
        behind = (await connection.execute(_BEHIND, parameters)).all()
        if behind:
            parts = ", ".join(f"{row.behind} on partition {row.partition}" for row in behind)
            return f"the rater has records to handle: {parts}"
        unopened = await connection.scalar(_UNOPENED, {**month, "period": str(period)})
        if unopened:
            return f"{unopened} contracts' recurring fees are not posted yet"
        waiting = await connection.scalar(_WAITING, {"end": period.end})
        return f"{waiting} events that waited for a contract are not rated yet" if waiting else None


async def _lock(engine: AsyncEngine, period: Period, actor: str, clock: Clock) -> PeriodState:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": POSTING_LOCK})
        state = await session.get(PeriodState, str(period), with_for_update=True)
        assert state is not None
        if state.state != "closed":
            state.state = "closed"
            state.closed_at = clock()
            await audit.record(
                session,
                actor=actor,
                act="period.close",
                subject=str(period),
                after={"end_offsets": state.end_offsets},
            )
        await session.commit()
        return state
