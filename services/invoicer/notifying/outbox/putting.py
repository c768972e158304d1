"""The outbox: notices, put down in the transaction of what they tell of. I/O: Postgres.

So a notice is there if and only if what it tells of was committed; whoever delivers it comes
afterwards, and nothing waits for them.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.notifying.outbox.notices import Notice

_PUT = text(
    "INSERT INTO outbox (id, type, key, subject, occurred_at, data)"
    " SELECT id, type, key, subject, occurred_at, CAST(data AS jsonb)"
    " FROM unnest(CAST(:ids AS text[]), CAST(:types AS text[]), CAST(:keys AS text[]),"
    " CAST(:subjects AS text[]), CAST(:moments AS timestamptz[]), CAST(:data AS text[]))"
    " AS given (id, type, key, subject, occurred_at, data)"
    " ON CONFLICT DO NOTHING"
)


async def put(session: AsyncSession, notice: Notice) -> bool:
    """Put a notice into the outbox, in the caller's transaction; False if it was there already."""
    return await put_all(session, [notice]) == 1


async def put_all(session: AsyncSession, notices: Sequence[Notice]) -> int:
    """Put notices into the outbox, in the caller's transaction; gives how many were new."""
    if not notices:
        return 0
    columns = {
        "ids": [one.id for one in notices],
        "types": [one.type for one in notices],
        "keys": [one.key for one in notices],
        "subjects": [one.subject for one in notices],
        "moments": [one.occurred_at for one in notices],
        "data": [msgspec.json.encode(one.data).decode() for one in notices],
    }
    done = await session.execute(_PUT, columns)
    return done.rowcount  # type: ignore[attr-defined, no-any-return]
