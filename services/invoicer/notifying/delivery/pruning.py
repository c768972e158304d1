"""Deletes notices that all their receivers have had for long. I/O: Postgres.

What waits, or was given up, is kept however old it is. Nothing looks here for what was told
before, but for a notice that comes about again: one that is gone is then told again, by the
same name. Alerts and silences stand in tables of their own, and are not raised again.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

_AT_ONCE = 1_000
_PRUNE = text("SELECT prune_notices(:told_before, :most)")

log = structlog.get_logger("tallybook.notices")


async def prune(engine: AsyncEngine, now: datetime, *, days: int) -> int:
    """Delete notices, with their deliveries, that were told more than so many days ago.

    Told is when the last of the receivers had taken it, or, where nobody was to be told, when
    that was found. 0 days keep all. It is done in transactions of 1,000 notices at most; gives
    how many went.
    """
    if days == 0:
        return 0
    terms = {"told_before": now - timedelta(days=days), "most": _AT_ONCE}
    pruned, is_more = 0, True
    while is_more:
        async with engine.begin() as connection:
            count = int(await connection.scalar(_PRUNE, terms) or 0)
        pruned += count
        is_more = count == _AT_ONCE
    if pruned:
        log.info("old notices were deleted", count=pruned)
    return pruned
