"""Rates events that waited for their customer or contract, once there is one."""

from services.rater.batch import EventColumns
from services.rater.rating import rate
from services.rater.rereading import EVENT_COLUMNS, stored_event
from services.rater.rules import Rules, begin_posting, know_customers
from shared.database import Connection, Pool

_BATCH = 10_000

_RATEABLE = """
    FROM events e JOIN contracts c ON c.customer_id = e.customer_id
    WHERE e.contract_id IS NULL AND NOT e.voided
      AND e.time >= c.starts_at AND (c.ends_at IS NULL OR e.time < c.ends_at)
"""


async def rate_waiting(pool: Pool) -> int:
    """Rate events that waited and now have a contract; gives how many were rated."""
    rated = 0
    async with pool.acquire() as connection:
        while await connection.fetchval(f"SELECT EXISTS (SELECT {_RATEABLE})"):
            rated += await _rate_some(connection)
    return rated


async def _rate_some(connection: Connection) -> int:
    rules = Rules()
    async with connection.transaction():
        state = await begin_posting(connection, rules)
        rows = await connection.fetch(
            f"SELECT {EVENT_COLUMNS} {_RATEABLE}"
            " ORDER BY e.source, e.id LIMIT $1 FOR UPDATE OF e SKIP LOCKED",
            _BATCH,
        )
        await know_customers(connection, rules, {row["customer_id"] for row in rows})
        events = EventColumns.of([stored_event(row, rules.meters) for row in rows])
        contract_ids = rules.contract_ids(events.customer_ids, events.times)
        await connection.execute(
            "UPDATE events e SET contract_id = n.contract_id, batch_id = $4"
            " FROM unnest($1::text[], $2::text[], $3::text[]) AS n (source, id, contract_id)"
            " WHERE e.source = n.source AND e.id = n.id",
            events.sources,
            events.ids,
            contract_ids,
            state.batch_id,
        )
        await rate(connection, rules, state, events, contract_ids)
    return len(rows)
