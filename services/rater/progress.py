"""How far the rater is: what became of the log's records, and how many it still has to handle."""

import json

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.broker import end_offsets
from shared.settings import Settings

_HANDLED = text(
    "SELECT coalesce(sum(records), 0)::bigint AS records,"
    " coalesce(sum(stored), 0)::bigint AS stored,"
    " coalesce(sum(duplicates), 0)::bigint AS duplicates,"
    " coalesce(sum(conflicts), 0)::bigint AS conflicts,"
    " coalesce(sum(dead_letters), 0)::bigint AS dead_letters"
    " FROM batches WHERE topic = :topic"
)
_BEHIND = text(
    "SELECT coalesce(sum(greatest(0, e.next::bigint - coalesce(o.next, 0))), 0)::bigint"
    " FROM jsonb_each_text(CAST(:ends AS jsonb)) AS e (partition, next)"
    " LEFT JOIN offsets o ON o.topic = :topic AND o.partition = e.partition::int"
)
_UNPRICED = text("SELECT count(*) FROM events WHERE contract_id IS NULL AND NOT voided")


async def read_progress(session: AsyncSession, settings: Settings) -> dict[str, int]:
    """Count records by what became of them, those still on the log, and events that wait.

    Call it first in a session: all that it gives is from one moment. So where nothing is behind,
    the other counts are of everything that was on the log when it was called.

    Raises `KafkaUnavailableError` where the log's ends cannot be asked for.
    """
    ends = await end_offsets(settings)
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    topic = {"topic": settings.usage_topic}
    handled = (await session.execute(_HANDLED, topic)).one()
    behind = await session.scalar(_BEHIND, {**topic, "ends": json.dumps(ends)})
    unpriced = await session.scalar(_UNPRICED)
    return {**handled._asdict(), "behind": int(behind or 0), "unpriced": int(unpriced or 0)}
