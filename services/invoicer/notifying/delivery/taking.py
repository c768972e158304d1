"""Makes and takes deliveries, and notes what came of them. I/O: Postgres.

A delivery is one notice on its way to one endpoint. Who takes one moves its next attempt on by a
lease in the same statement, so that no transaction is open while a receiver is waited for. A
process that dies in between leaves it to be due again when the lease is over: a receiver may get
a message twice, and never not at all.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.notifying.delivery.pauses import next_delay
from services.invoicer.notifying.endpoints.store import disable_endpoint
from services.invoicer.notifying.outbox.notices import Notice
from services.invoicer.notifying.transport.answers import Answer
from shared.errors import NotFoundError

LEASE = timedelta(minutes=5)
"""Longer than any attempt takes."""

_FANNED_OUT_AT_ONCE = 1_000

_FAN_OUT = text(
    "WITH put AS (SELECT id, type FROM outbox WHERE fanned_out_at IS NULL"
    " ORDER BY put_at LIMIT :most FOR UPDATE SKIP LOCKED),"
    " receivers AS (SELECT id, types FROM notice_endpoints WHERE state <> 'removed' FOR SHARE),"
    " made AS (INSERT INTO notice_deliveries (notice_id, endpoint_id, next_attempt_at, created_at)"
    " SELECT p.id, r.id, :now, :now FROM put p JOIN receivers r"
    " ON r.types = '{}' OR p.type = ANY(r.types) ON CONFLICT DO NOTHING)"
    " UPDATE outbox o SET fanned_out_at = :now FROM put p WHERE p.id = o.id RETURNING o.id"
)
_ENDPOINTS_DUE = text(
    "SELECT e.id FROM notice_endpoints e WHERE e.state = 'enabled' AND EXISTS"
    " (SELECT FROM notice_deliveries d WHERE d.endpoint_id = e.id AND d.state = 'waiting'"
    " AND d.next_attempt_at <= :now)"
)
_CLAIM = text(
    "WITH due AS (SELECT d.id FROM notice_deliveries d WHERE d.endpoint_id = :endpoint"
    " AND d.state = 'waiting' AND d.next_attempt_at <= :now"
    " ORDER BY d.next_attempt_at, d.id LIMIT :most FOR UPDATE SKIP LOCKED)"
    " UPDATE notice_deliveries d SET attempts = d.attempts + 1, next_attempt_at = :until"
    " FROM due, outbox o, notice_endpoints e WHERE d.id = due.id AND o.id = d.notice_id"
    " AND e.id = d.endpoint_id AND e.state = 'enabled'"
    " RETURNING d.id, d.attempts, e.id AS endpoint_id, e.url, e.secret,"
    " CASE WHEN e.former_until > :now THEN e.former_secret END AS former_secret,"
    " o.type, o.key, o.subject, o.occurred_at, o.data"
)
_DELIVERED = text(
    "UPDATE notice_deliveries SET state = 'delivered', delivered_at = :now, last_answer = :answer"
    " WHERE id = :id AND state <> 'delivered'"
)
_FAILED = text(
    "UPDATE notice_deliveries SET state = :state, next_attempt_at = :next, last_answer = :answer"
    " WHERE id = :id AND state = 'waiting' AND attempts = :attempt"
)
_WAITS_FOR_ENABLING = text(
    "UPDATE notice_deliveries SET attempts = 0, next_attempt_at = :now, last_answer = :answer"
    " WHERE id = :id AND state = 'waiting'"
)


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that was taken, to be attempted now for the `attempt`-th time."""

    id: int
    attempt: int
    notice: Notice
    endpoint_id: str
    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)


async def fan_out(engine: AsyncEngine, now: datetime) -> None:
    """Make deliveries of what is in the outbox, one for each endpoint that is told of its type."""
    is_more = True
    while is_more:
        async with engine.begin() as connection:
            terms = {"most": _FANNED_OUT_AT_ONCE, "now": now}
            done = (await connection.execute(_FAN_OUT, terms)).all()
        is_more = len(done) == _FANNED_OUT_AT_ONCE


async def endpoints_due(engine: AsyncEngine, now: datetime) -> list[str]:
    """Name the endpoints for which deliveries are due."""
    async with engine.connect() as connection:
        rows = await connection.execute(_ENDPOINTS_DUE, {"now": now})
        return [row.id for row in rows]


async def claim(engine: AsyncEngine, endpoint_id: str, now: datetime, *, most: int) -> list[Due]:
    """Take deliveries that are due and that nobody else takes; each is one attempt more."""
    terms = {"endpoint": endpoint_id, "now": now, "until": now + LEASE, "most": most}
    async with engine.begin() as connection:
        rows = (await connection.execute(_CLAIM, terms)).all()
    return [
        Due(
            row.id,
            row.attempts,
            Notice(row.type, row.key, row.subject, row.occurred_at, row.data),
            row.endpoint_id,
            row.url,
            tuple(one for one in (row.secret, row.former_secret) if one is not None),
        )
        for row in rows
    ]


async def note(
    engine: AsyncEngine, due: Due, answer: Answer, now: datetime, *, chance: float
) -> str:
    """Note what came of an attempt; gives `delivered`, `waiting` or `dead`."""
    if answer.taken:
        terms = {"id": due.id, "now": now, "answer": answer.words}
        async with engine.begin() as connection:
            await connection.execute(_DELIVERED, terms)
        return "delivered"
    if answer.gone:
        await _disable(engine, due, answer, now)
        return "waiting"
    delay = next_delay(due.attempt, answer.retry_after, chance)
    state = "dead" if delay is None else "waiting"
    terms = {
        "id": due.id,
        "attempt": due.attempt,
        "state": state,
        "next": now + timedelta(seconds=delay or 0.0),
        "answer": answer.words,
    }
    async with engine.begin() as connection:
        await connection.execute(_FAILED, terms)
    return state


async def _disable(engine: AsyncEngine, due: Due, answer: Answer, now: datetime) -> None:
    """Disable an endpoint that is gone; the message waits, should it be enabled again."""
    async with AsyncSession(engine) as session:
        try:
            await disable_endpoint(
                session, due.endpoint_id, why=answer.words, actor="invoicer", now=now
            )
        except NotFoundError:
            return  # it was removed meanwhile, and what waits for it with it
        terms = {"id": due.id, "now": now, "answer": answer.words}
        await session.execute(_WAITS_FOR_ENABLING, terms)
        await session.commit()
