"""Reads a customer's month from one snapshot of the books. I/O: reads of Postgres.

Quantities come from the running totals that the rater keeps as it goes; no event is looked at.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.contracts import get_customer
from services.rater.ledger import read_usage
from services.rater.pricing import Band
from services.rater.rules import Rules, know_customers
from services.rater.tallying import UsageKey
from services.rater.tokens import TokenPrice, TokenPrices
from services.rater.usage.month import CustomerMonth, PostedLine, Split
from shared.database import Connection, asyncpg_connection
from shared.periods import Period

_TOKENS = """
    SELECT c.id, coalesce(p.definition->>'tokens', 'included') AS tokens
    FROM contracts c JOIN plan_versions p ON p.id = c.plan_version_id WHERE c.customer_id = $1
"""
_METERS = "SELECT code, definition->>'aggregate' AS aggregate FROM meters"
_PRICES = """
    SELECT model, effective_from, currency, input_per_million, output_per_million
    FROM model_prices
"""
_DISTINCT = """
    SELECT meter, dimension, value, count(DISTINCT member)::numeric AS quantity
    FROM usage_members WHERE contract_id = ANY($1) AND usage_period = $2 AND meter = ANY($3)
    GROUP BY 1, 2, 3
"""
_POSTED = """
    SELECT l.contract_id, l.charge, l.band, l.usage_period::text, l.unit_price,
           sum(l.quantity) AS quantity, sum(l.amount) AS amount
    FROM line_items l JOIN contracts c ON c.id = l.contract_id
    WHERE l.posting_period = $1 AND l.customer_id = $2
    GROUP BY c.starts_at, l.contract_id, l.charge, l.band, l.usage_period, l.unit_price
    ORDER BY c.starts_at, l.contract_id, l.usage_period, l.charge, min(l.id)
"""


async def read_month(session: AsyncSession, customer_id: str, period: Period) -> CustomerMonth:
    """Read a customer's month; raise `NotFoundError` for a customer that there is not.

    Call it first in a session: all that it gives is from one moment.
    """
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    customer = await get_customer(session, customer_id)
    connection = await asyncpg_connection(session)
    as_of: datetime = await connection.fetchval("SELECT now()")
    rules = Rules()
    await know_customers(connection, rules, [customer_id])
    contracts = rules.by_customer[customer_id]
    totals = await read_usage(connection, [(one.id, str(period)) for one in contracts])
    aggregates: dict[str, str] = dict(map(tuple, await connection.fetch(_METERS)))
    prices = await connection.fetch(_PRICES)
    return CustomerMonth(
        customer_id=customer_id,
        currency=customer.currency,
        period=period,
        as_of=as_of,
        contracts=contracts,
        tokens=dict(map(tuple, await connection.fetch(_TOKENS, customer_id))),
        aggregates=aggregates,
        totals=totals,
        distinct=await _read_distinct(connection, totals, aggregates, period),
        prices=TokenPrices(TokenPrice(*row) for row in prices),
        posted=await _read_posted(connection, customer_id, period),
    )


async def _read_distinct(
    connection: Connection,
    totals: Mapping[UsageKey, Decimal],
    aggregates: Mapping[str, str],
    period: Period,
) -> dict[Split, Decimal]:
    """Count anew what several contracts have counted, so that nothing counts twice."""
    by_meter: dict[str, set[str]] = {}
    for key in totals:
        if aggregates.get(key.meter) == "unique_count":
            by_meter.setdefault(key.meter, set()).add(key.contract_id)
    shared = {meter: contracts for meter, contracts in by_meter.items() if len(contracts) > 1}
    if not shared:
        return {}
    contracts = sorted(set.union(*shared.values()))
    rows = await connection.fetch(_DISTINCT, contracts, str(period), sorted(shared))
    return {Split(*row[:3]): row[3] for row in map(tuple, rows)}


async def _read_posted(
    connection: Connection, customer_id: str, period: Period
) -> Sequence[PostedLine]:
    rows = await connection.fetch(_POSTED, str(period), customer_id)
    return [
        PostedLine(
            row["contract_id"],
            row["charge"],
            Band(row["band"], row["quantity"], row["unit_price"], row["amount"]),
            row["usage_period"],
        )
        for row in rows
    ]
