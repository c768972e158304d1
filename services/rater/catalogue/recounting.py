"""Counts stored events again where a catalogue changed how they are counted.

A meter may be new or changed only while no contract is billed by it, and a token price is in
no amount due; so this moves running totals, and no line item.
"""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.repricing import count_and_reprice
from services.rater.rules import Rules, begin_posting
from services.rater.tokens import MODEL
from shared.database import asyncpg_connection

_BY_TYPE = """
    SELECT DISTINCT contract_id, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM') AS period
    FROM events WHERE type = ANY($1) AND contract_id IS NOT NULL
"""
_BY_MODEL = f"""
    SELECT DISTINCT contract_id, usage_period::text AS period
    FROM usage_totals WHERE dimension = '{MODEL}' AND value = ANY($1)
"""


async def recount(
    session: AsyncSession, *, event_types: Collection[str], models: Collection[str]
) -> None:
    """Count the months again that have events of some types, or usage of some models.

    Call it in the transaction that changed the catalogue, under the posting lock.
    """
    connection = await asyncpg_connection(session)
    months: set[tuple[str, str]] = set()
    for query, names in ((_BY_TYPE, event_types), (_BY_MODEL, models)):
        if names:
            rows = await connection.fetch(query, list(names))
            months |= {(row["contract_id"], row["period"]) for row in rows}
    if months:
        rules = Rules()
        state = await begin_posting(connection, rules)
        await count_and_reprice(connection, rules, state, months)
