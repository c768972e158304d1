"""What is on the log but not rated: events that wait for a contract, and dead letters."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from shared.errors import NotFoundError
from shared.moments import format_moment
from shared.tables.rater import DeadLetter

_MOST = 1000

_WAITING = text(
    "SELECT e.customer_id, count(*) AS events, min(e.time) AS first_time, max(e.time) AS last_time,"
    " EXISTS (SELECT FROM customers c WHERE c.id = e.customer_id) AS known"
    " FROM events e WHERE e.contract_id IS NULL AND NOT e.voided GROUP BY 1 ORDER BY 1"
)


async def waiting_events(session: AsyncSession) -> list[dict[str, Any]]:
    """Give, by customer, the events that no contract covers, and what they wait for.

    They are rated by themselves as soon as a contract covers their time.
    """
    rows = await session.execute(_WAITING)
    return [
        {
            "customer": row.customer_id,
            "events": row.events,
            "first_time": format_moment(row.first_time),
            "last_time": format_moment(row.last_time),
            "waits_for": "contract" if row.known else "customer",
        }
        for row in rows
    ]


async def list_dead_letters(session: AsyncSession) -> Sequence[DeadLetter]:
    """Give the newest dead letters, at most 1,000."""
    query = select(DeadLetter).order_by(col(DeadLetter.id).desc()).limit(_MOST)
    return (await session.execute(query)).scalars().all()


async def get_dead_letter(session: AsyncSession, letter_id: int) -> DeadLetter:
    """Give a dead letter, or raise `NotFoundError`."""
    letter = await session.get(DeadLetter, letter_id)
    if letter is None:
        raise NotFoundError(f"there is no dead letter {letter_id}; see: dead-letters list")
    return letter
