"""Reads what arrived from each source, when, and where it fell silent. I/O: reads of Postgres.

All counts are of the last 30 days, so that what is read stays small beside a table of many
years; silences are of the last 7.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.ingest.whereabouts.sources import Source
from shared.rhythm_reading import read_rhythms

MONTH = timedelta(days=30)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
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
        "month": now - MONTH,
    }
    for row in await session.execute(_COUNTS, asked):
        one = of(row.source)
        one.first, one.last = row.first, row.last
        one.hour, one.day, one.month = row.hour, row.day, row.month
    rhythms = await read_rhythms(session, now, sources=sources, customers=customers)
    for name, rhythm in rhythms.items():
        of(name).rhythm = rhythm
    for row in await session.execute(_CONFLICTS, asked):
        of(row.source).conflicts, of(row.source).open_conflicts = row.month, row.open
    if not customers:
        await _read_what_has_no_customer(session, asked, found)
    return sorted(found.values(), key=lambda one: one.name)[:_MOST_SOURCES]


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
