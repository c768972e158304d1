"""Reads the audit trail, and verifies its chain from one snapshot. I/O: reads of Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from shared.audit_chain import Entry, Finding, Link, Verification
from shared.database import asyncpg_connection
from shared.tables.everyone import AuditEntry

MOST_LISTED = 1_000
_ROWS_AT_ONCE = 5_000
_CHAIN = """
    SELECT c.position, c.entry_id, c.hash,
           e.id, e.at, e.actor, e.act, e.subject, e.before::text, e.after::text
    FROM audit_chain c FULL JOIN audit_entries e ON e.id = c.entry_id
    ORDER BY c.position NULLS LAST, e.id
"""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found; without findings the trail is whole. `head` is its last link."""

    entries: int
    head: tuple[int, bytes]
    findings: Sequence[Finding]


async def list_entries(
    session: AsyncSession, *, since: datetime | None = None, before: int | None = None
) -> Sequence[AuditEntry]:
    """Give entries, the newest first, at most 1,000: from a moment on, before an entry's id."""
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(MOST_LISTED)
    if since is not None:
        query = query.where(col(AuditEntry.at) >= since)
    if before is not None:
        query = query.where(col(AuditEntry.id) < before)
    return (await session.execute(query)).scalars().all()


async def verify(session: AsyncSession, noted: bytes | None = None) -> Verified:
    """Reckon the whole chain again; `noted` is the hash of a link that was noted elsewhere.

    Call it first in a session.
    """
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    position, last = (await session.execute(text("SELECT position, hash FROM audit_head"))).one()
    head = (int(position), bytes(last))
    verification = Verification(noted)
    findings: list[Finding] = []
    connection = await asyncpg_connection(session)
    cursor = await connection.cursor(_CHAIN)
    while rows := await cursor.fetch(_ROWS_AT_ONCE):
        for row in rows:
            link = None if row["position"] is None else Link(*tuple(row)[:3])
            entry = None if row["id"] is None else Entry(*tuple(row)[3:])
            findings += verification.look_at(link, entry)
    findings += verification.end(head)
    return Verified(verification.entries, head, findings)
