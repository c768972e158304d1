"""Reads how sources of events keep time. I/O: reads of Postgres.

Silences are looked for in the last 7 days, at a second's resolution. All that was stored in these
days is read for that, found by the small index on the events' time: a second or so for each
million of events, as long as they come nearly in the order of their time.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.rhythms import Gap, Rhythm

_WEEK = timedelta(days=7)
_FEWEST_GAPS = 10
"""With fewer gaps between events than this, nobody can say what is usual."""
_MOST_GAPS = 100

_RHYTHMS = text(
    "WITH active AS ("
    "  SELECT source, date_trunc('second', received_at) AS at FROM events"
    "  WHERE time >= :week AND received_at >= :week"
    "   AND (cardinality(CAST(:sources AS text[])) = 0 OR source = ANY(:sources))"
    "   AND (cardinality(CAST(:customers AS text[])) = 0 OR customer_id = ANY(:customers))"
    "  GROUP BY 1, 2),"
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
_HEARD = text(
    "SELECT source, date_trunc('second', max(received_at)) AS last FROM events"
    " WHERE time >= :since AND source = ANY(:sources) GROUP BY 1"
)


async def read_rhythms(
    session: AsyncSession,
    now: datetime,
    *,
    sources: Collection[str] = (),
    customers: Collection[str] = (),
) -> dict[str, Rhythm]:
    """Read the rhythm of every source that was heard in the last 7 days, or of some.

    With customers, only what is about them. Each source's gaps are the 100 newest.
    """
    await session.execute(text("SET LOCAL jit = off"))
    asked = {"week": now - _WEEK, "sources": sorted(sources), "customers": sorted(customers)}
    found: dict[str, Rhythm] = {}
    gaps: dict[str, list[Gap]] = {}
    for row in await session.execute(_RHYTHMS, asked):
        of_source = gaps.setdefault(row.source, [])
        if row.at is not None and len(of_source) < _MOST_GAPS:
            of_source.append(Gap(row.at, row.next))
        found[row.source] = Rhythm(row.last, row.longest, of_source)
    return found


async def read_last_received(
    session: AsyncSession, sources: Collection[str], since: datetime
) -> dict[str, datetime]:
    """Tell when some sources were last heard, by events that happened from a moment on.

    It reads no more than what was stored about then and later; who sent nothing is not there.
    """
    asked = {"sources": sorted(sources), "since": since}
    return {row.source: row.last for row in await session.execute(_HEARD, asked)}
