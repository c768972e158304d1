"""Reads the books as an outsider: what stands in them, and what is still missing. I/O: SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg

from shared.periods import Period

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True)
class Totals:
    """What a month's books come to; equal books have equal totals, however they were made."""

    amounts: Mapping[tuple[str, str], Decimal]
    """Sum of line items by customer and charge."""
    quantities: Mapping[tuple[str, str], Decimal]
    """Sum of line items' quantities by customer and charge."""
    metered: Mapping[tuple[str, str], Decimal]
    """Running total by customer and meter."""
    events: Mapping[str, int]
    """Stored events by customer, billable or not, with a contract or not."""
    unpriced: int
    """Stored events without a contract."""


async def read_totals(connection: Connection, period: Period) -> Totals:
    """Read the totals of a month of usage, all from one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        items = await connection.fetch(
            "SELECT customer_id, charge, sum(amount) AS amount, sum(quantity) AS quantity"
            " FROM line_items WHERE usage_period = $1 GROUP BY 1, 2 ORDER BY 1, 2",
            str(period),
        )
        metered = await connection.fetch(
            "SELECT customer_id, meter, sum(quantity) AS quantity FROM usage_totals"
            " JOIN contracts ON contracts.id = contract_id"
            " WHERE usage_period = $1 AND dimension = '' GROUP BY 1, 2 ORDER BY 1, 2",
            str(period),
        )
        events = await connection.fetch(
            "SELECT customer_id, count(*) AS stored, count(*) - count(contract_id) AS unpriced"
            " FROM events WHERE time >= $1 AND time < $2 GROUP BY 1 ORDER BY 1",
            period.start,
            period.end,
        )
    return Totals(
        {(row["customer_id"], row["charge"]): row["amount"] for row in items},
        {(row["customer_id"], row["charge"]): row["quantity"] for row in items},
        {(row["customer_id"], row["meter"]): row["quantity"] for row in metered},
        {row["customer_id"]: row["stored"] for row in events},
        sum(row["unpriced"] for row in events),
    )


async def what_is_missing(
    connection: Connection, topic: str, ends: Mapping[int, int]
) -> str | None:
    """Say what the rater has still to do: records, events that waited, months to open."""
    rows = await connection.fetch("SELECT partition, next FROM offsets WHERE topic = $1", topic)
    known = {row["partition"]: row["next"] for row in rows}
    behind = {part: end - known.get(part, 0) for part, end in ends.items()}
    if any(count > 0 for count in behind.values()):
        return f"records that are not handled, by partition: {behind}"
    if count := await connection.fetchval(_RATEABLE):
        return f"{count} events that have a contract and are not rated"
    if count := await connection.fetchval(_UNOPENED):
        return f"{count} months of contracts whose recurring fees are not posted"
    return None


_RATEABLE = """
    SELECT count(*) FROM events e JOIN contracts c ON c.customer_id = e.customer_id
    WHERE e.contract_id IS NULL AND NOT e.voided
      AND e.time >= c.starts_at AND (c.ends_at IS NULL OR e.time < c.ends_at)
"""
_UNOPENED = """
    SELECT count(*) FROM contracts c, generate_series(
        date_trunc('month', c.starts_at, 'UTC'),
        least(now(), c.ends_at - interval '1 microsecond'),
        interval '1 month') AS month
    WHERE NOT EXISTS (SELECT FROM contract_months m WHERE m.contract_id = c.id
        AND m.period = to_char(month AT TIME ZONE 'UTC', 'YYYY-MM'))
"""


async def what_does_not_balance(connection: Connection) -> list[dict[str, Any]]:
    """Find contracts' months whose line items are not the price of their events (I4).

    Counted from the events themselves and priced here, apart from the rater's code, at one
    snapshot. An empty list is what must come, at every moment. Contracts with a discount are
    left out.
    """
    return [dict(row) for row in await connection.fetch(_OUT_OF_BALANCE)]


_OUT_OF_BALANCE = """
    WITH used AS (
        SELECT contract_id, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
               count(*)::numeric AS quantity
        FROM events
        WHERE contract_id IS NOT NULL AND NOT voided AND type = 'ai.execution.finished'
          AND data->>'status' = 'succeeded'
        GROUP BY 1, 2
    ), bands AS (
        SELECT p.id AS plan, charge->>'code' AS charge, (tier->>'unit_price')::numeric AS price,
               (tier->>'up_to')::numeric AS upper,
               coalesce(lag((tier->>'up_to')::numeric) OVER (
                   PARTITION BY p.id, charge->>'code' ORDER BY place), 0) AS lower
        FROM plan_versions p, jsonb_array_elements(p.definition->'charges') AS charge,
             jsonb_array_elements(coalesce(charge->'tiers', jsonb_build_array(charge)))
                 WITH ORDINALITY AS tiers (tier, place)
        WHERE charge->>'meter' = 'executions'
    ), due AS (
        SELECT u.contract_id, u.month, b.charge, u.quantity,
               sum(greatest(0, least(u.quantity, coalesce(b.upper, u.quantity)) - b.lower)
                   * b.price) AS amount
        FROM used u JOIN contracts c ON c.id = u.contract_id
        JOIN bands b ON b.plan = c.plan_version_id
        WHERE c.discount_schedule_id IS NULL
        GROUP BY 1, 2, 3, 4
    ), posted AS (
        SELECT l.contract_id, l.usage_period::text AS month, l.charge,
               sum(l.quantity) AS quantity, sum(l.amount) AS amount
        FROM line_items l JOIN contracts c ON c.id = l.contract_id
        WHERE c.discount_schedule_id IS NULL
          AND (c.plan_version_id, l.charge) IN (SELECT plan, charge FROM bands)
        GROUP BY 1, 2, 3
    )
    SELECT contract_id AS contract, month, charge, d.quantity AS used, p.quantity AS posted,
           d.amount AS due, p.amount AS billed
    FROM due d FULL JOIN posted p USING (contract_id, month, charge)
    WHERE coalesce(d.quantity, 0) <> coalesce(p.quantity, 0)
       OR coalesce(d.amount, 0) <> coalesce(p.amount, 0)
"""
