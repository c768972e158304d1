"""Reads what arrived from each source, when, and where it fell silent. I/O: reads of Postgres.

All counts are of the last 30 days, so that what is read stays small beside a table of many
years. Silences are looked for in the last 7 days, at a second's resolution.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.ingest.whereabouts.sources import Gap, Source

MONTH = timedelta(days=30)
_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_FEWEST_GAPS = 10
"""With fewer gaps between events than this, nobody can say what is usual."""
_MOST_GAPS = 100
_MOST_SOURCES = 1_000

_OF_SOURCES = "(cardinality(CAST(:sources AS text[])) = 0 OR source = ANY(:sources))"
_SEEN = (
    f"{_OF_SOURCES}"
    " AND (cardinality(CAST(:customers AS text[])) = 0 OR customer_id = ANY(:customers))"
)
_COUNTS = text(
    "SELECT source, count(*) AS month, count(*) FILTER (WHERE time >= :day) AS day,"
    " count(*) FILTER (WHERE time >= :hour) AS hour, min(time) AS first, max(time) AS last"
    f" FROM events WHERE time >= :month AND {_SEEN}"
    f" GROUP BY 1 ORDER BY 1 LIMIT {_MOST_SOURCES}"
)
_NAMES = text(
    "WITH RECURSIVE names AS ("
    f" (SELECT source FROM events WHERE {_OF_SOURCES} ORDER BY source LIMIT 1)"
    " UNION ALL SELECT (SELECT e.source FROM events e WHERE e.source > names.source"
    f"  AND {_OF_SOURCES} ORDER BY e.source LIMIT 1)"
    " FROM names WHERE names.source IS NOT NULL)"
    f" SELECT source FROM names WHERE source IS NOT NULL LIMIT {_MOST_SOURCES}"
)
_SILENCES = text(
    "WITH active AS ("
    "  SELECT source, date_trunc('second', received_at) AS at FROM events"
    f"  WHERE time >= :week AND received_at >= :week AND {_SEEN} GROUP BY 1, 2),"
    " gaps AS ("
    "  SELECT source, at, lead(at) OVER (PARTITION BY source ORDER BY at) AS next FROM active),"
    " usual AS ("
    "  SELECT source, max(at) AS last,"
    f"   CASE WHEN count(next) >= {_FEWEST_GAPS} THEN greatest(interval '10 minutes',"
    "    5 * percentile_disc(0.99) WITHIN GROUP (ORDER BY next - at)) END AS longest"
    "  FROM gaps GROUP BY 1)"
    " SELECT u.source, u.last, u.longest, g.at, g.next FROM usual u"
    " LEFT JOIN gaps g ON g.source = u.source AND g.next - g.at > u.longest"
    " ORDER BY u.source, g.at DESC"
)
_CONFLICTS = text(
    "SELECT source, count(*) AS month, count(*) FILTER (WHERE state = 'open') AS open"
    f" FROM conflicts WHERE received_at >= :month AND {_SEEN} GROUP BY 1"
)
_LETTERS = text(
    "SELECT coalesce(source, '') AS source, code, count(*) AS records FROM dead_letters"
    f" WHERE received_at >= :month AND {_OF_SOURCES}"
    " GROUP BY 1, 2 ORDER BY 1, 2"
)
_REJECTIONS = text(
    "SELECT source, code, sum(events)::bigint AS events FROM rejections"
    f" WHERE hour >= :month AND {_OF_SOURCES}"
    " GROUP BY 1, 2 ORDER BY 1, 2"
)


async def read_sources(
    session: AsyncSession,
    now: datetime,
    *,
    sources: frozenset[str] = frozenset(),
    customers: frozenset[str] = frozenset(),
) -> list[Source]:
    """Read every source by name, or some; with customers, only what is about them.

    What has no source that could be read is under the empty name. At most 1,000 sources.
    """
    await session.execute(text("SET LOCAL jit = off"))
    found: dict[str, Source] = {}

    def of(name: str) -> Source:
        return found.setdefault(name, Source(name))

    asked = {
        "sources": sorted(sources),
        "customers": sorted(customers),
        "hour": now - _HOUR,
        "day": now - _DAY,
        "week": now - _WEEK,
        "month": now - MONTH,
    }
    for row in await session.execute(_COUNTS, asked):
        one = of(row.source)
        one.first, one.last = row.first, row.last
        one.hour, one.day, one.month = row.hour, row.day, row.month
    for row in await session.execute(_SILENCES, asked):
        _note_silence(of(row.source), row)
    for row in await session.execute(_CONFLICTS, asked):
        of(row.source).conflicts, of(row.source).open_conflicts = row.month, row.open
    if not customers:
        await _read_what_has_no_customer(session, asked, found)
    return sorted(found.values(), key=lambda one: one.name)[:_MOST_SOURCES]


def _note_silence(one: Source, row: Any) -> None:
    one.last_received, one.longest_usual = row.last, row.longest
    if row.at is not None and len(one.gaps) < _MOST_GAPS:
        one.gaps.append(Gap(row.at, row.next))


async def _read_what_has_no_customer(
    session: AsyncSession, asked: dict[str, Any], found: dict[str, Source]
) -> None:
    """Add dead letters, rejections, and sources that have been silent for a month."""
    for row in await session.execute(_LETTERS, asked):
        found.setdefault(row.source, Source(row.source)).dead_letters[row.code] = row.records
    for row in await session.execute(_REJECTIONS, asked):
        found.setdefault(row.source, Source(row.source)).not_taken[row.code] = row.events
    for row in await session.execute(_NAMES, asked):
        found.setdefault(row.source, Source(row.source))
