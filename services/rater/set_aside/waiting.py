"""Events that wait for a contract. I/O: reads of Postgres."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.moments import format_moment

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
