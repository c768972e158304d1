"""How deliveries stand: listed, counted, and made due again by people. I/O: Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from shared.errors import ConflictingStateError, NotFoundError
from shared.tables.notices import NoticeEndpoint

MOST_LISTED = 1_000

_LIST = text(
    "SELECT d.id, d.notice_id, o.type, o.subject, o.occurred_at, d.endpoint_id, d.state,"
    " d.attempts, d.next_attempt_at, d.last_answer, d.delivered_at"
    " FROM notice_deliveries d JOIN outbox o ON o.id = d.notice_id"
    " WHERE (CAST(:state AS text) IS NULL OR d.state = :state)"
    " AND (CAST(:endpoint AS text) IS NULL OR d.endpoint_id = :endpoint)"
    " AND (CAST(:before AS bigint) IS NULL OR d.id < :before)"
    " ORDER BY d.id DESC LIMIT :most"
)
_RETRY = text(
    "UPDATE notice_deliveries d SET state = 'waiting', attempts = 0, next_attempt_at = :now"
    " FROM notice_endpoints e WHERE e.id = d.endpoint_id AND e.state <> 'removed'"
    " AND d.state <> 'delivered' AND d.id = :id RETURNING d.id"
)
_RETRY_DEAD = text(
    "UPDATE notice_deliveries d SET state = 'waiting', attempts = 0, next_attempt_at = :now"
    " FROM notice_endpoints e WHERE e.id = d.endpoint_id AND e.state <> 'removed'"
    " AND d.state = 'dead' AND d.endpoint_id = :endpoint RETURNING d.id"
)
_STATES = text(
    "SELECT d.state, e.state AS endpoint_state FROM notice_deliveries d"
    " JOIN notice_endpoints e ON e.id = d.endpoint_id WHERE d.id = :id"
)
_FIGURES = text(
    "SELECT (SELECT count(*) FROM notice_deliveries d JOIN notice_endpoints e"
    " ON e.id = d.endpoint_id WHERE d.state = 'waiting' AND e.state = 'enabled') AS waiting,"
    " (SELECT count(*) FROM notice_deliveries d JOIN notice_endpoints e"
    " ON e.id = d.endpoint_id WHERE d.state = 'dead' AND e.state <> 'removed') AS dead,"
    " LEAST((SELECT min(d.created_at) FROM notice_deliveries d JOIN notice_endpoints e"
    " ON e.id = d.endpoint_id WHERE d.state = 'waiting' AND e.state = 'enabled'),"
    " (SELECT min(put_at) FROM outbox WHERE fanned_out_at IS NULL)) AS oldest"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A delivery as it is shown."""

    id: int
    notice_id: str
    type: str
    subject: str
    occurred_at: datetime
    endpoint_id: str
    state: str
    attempts: int
    next_attempt_at: datetime
    last_answer: str | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Figures:
    """How many deliveries wait for an enabled endpoint, how many are dead, since when one waits."""

    waiting: int
    dead: int
    oldest: datetime | None


async def list_deliveries(
    session: AsyncSession,
    *,
    state: str | None = None,
    endpoint: str | None = None,
    before: int | None = None,
) -> Sequence[Listed]:
    """Give deliveries, the newest first, at most 1,000: in a state, for an endpoint.

    An endpoint may be a removed one; raises `NotFoundError` where there never was one.
    """
    if endpoint is not None and await session.get(NoticeEndpoint, endpoint) is None:
        raise NotFoundError(f"there is no endpoint {endpoint!r}; see: webhooks list")
    terms = {"state": state, "endpoint": endpoint, "before": before, "most": MOST_LISTED}
    return [Listed(*row) for row in await session.execute(_LIST, terms)]


async def retry_delivery(session: AsyncSession, delivery_id: int, now: datetime) -> None:
    """Let a delivery that is dead or waits be due now, with all its attempts before it.

    Raises `NotFoundError`, and `ConflictingStateError` for one that is delivered, or whose
    endpoint was removed.
    """
    if await session.scalar(_RETRY, {"id": delivery_id, "now": now}) is None:
        row = (await session.execute(_STATES, {"id": delivery_id})).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no delivery {delivery_id}; see: webhooks deliveries")
        if row.endpoint_state == "removed":
            raise ConflictingStateError(f"the endpoint of delivery {delivery_id} was removed")
        raise ConflictingStateError(f"delivery {delivery_id} is {row.state}")
    await session.commit()


async def retry_dead(session: AsyncSession, endpoint_id: str, now: datetime) -> int:
    """Let all dead letters of an endpoint be due now; gives how many there were."""
    terms = {"endpoint": endpoint_id, "now": now}
    retried = (await session.execute(_RETRY_DEAD, terms)).all()
    await session.commit()
    return len(retried)


async def read_figures(engine: AsyncEngine) -> Figures:
    """Count what waits and what is dead."""
    async with engine.connect() as connection:
        return Figures(*(await connection.execute(_FIGURES)).one())
