"""Counts and meters the events of a month, apart from the rater's code. I/O: reads of Postgres.

The table is passed over once, however many meters there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.invoicer.reconciliation.figures import MonthEvents
from shared.money import EXACT
from shared.periods import Period

LISTED_IDS = 1000
"""How many ids a difference names at most; its count counts them all."""

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Usage:
    """Events alike in all that meters look at: how many, and what their properties add up to."""

    contract_id: str
    type: str
    properties: Mapping[str, str | None]
    count: int
    sums: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class EventFigures:
    """What one pass over the events finds."""

    rows: Mapping[int, int]
    """All events by partition."""
    month: MonthEvents
    quantities: Mapping[tuple[str, str], Decimal]
    """The month's quantities by contract and meter."""


async def read_meters(connection: AsyncConnection) -> dict[str, dict[str, Any]]:
    """Read the meters that a charge of some plan is on."""
    rows = await connection.execute(
        text(
            "SELECT code, definition::text FROM meters WHERE code IN (SELECT charge ->> 'meter'"
            " FROM plan_versions, jsonb_array_elements(definition -> 'charges') AS charge)"
        )
    )
    return {row.code: decoded(row.definition) for row in rows}


async def read_events(
    connection: AsyncConnection, period: Period, meters: Mapping[str, Mapping[str, Any]]
) -> EventFigures:
    """Count all events, and meter those of the month, in one pass over the table."""
    filters = sorted({name for meter in meters.values() for name in meter.get("filter", {})})
    sums = sorted({meter["property"] for meter in meters.values() if meter.get("property")})
    statement, values = _events_query(filters, sums)
    types = [meter["event_type"] for meter in meters.values()]
    month = {"start": period.start, "end": period.end, "types": types}
    rows: dict[int, int] = {}
    usages: list[_Usage] = []
    total = unpriced = 0
    for row in await connection.execute(text(statement), {**month, **values}):
        fixed, rest = row[:5], row[5:]
        partition, in_month, contract_id, event_type, count = fixed
        rows[partition] = rows.get(partition, 0) + count
        if not in_month:
            continue
        total += count
        if contract_id is None:
            unpriced += count
            continue
        properties = dict(zip(filters, rest, strict=False))
        added = dict(zip(sums, rest[len(filters) :], strict=True))
        usages.append(_Usage(contract_id, event_type, properties, count, added))
    customers = await _unpriced_customers(connection, period) if unpriced else []
    billable, quantities = _metered(usages, meters)
    return EventFigures(rows, MonthEvents(total, billable, unpriced, customers), quantities)


def _events_query(filters: Sequence[str], sums: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Write the pass: events grouped by all that decides what they count for.

    Each property is taken out of the JSON once an event, and only within the month.
    """
    of_month = "time >= :start AND time < :end"
    values = {f"filter{index}": name for index, name in enumerate(filters)}
    values |= {f"sum{index}": name for index, name in enumerate(sums)}
    groups = [f"CASE WHEN {of_month} THEN data ->> CAST(:{name} AS text) END" for name in values]
    added = [
        f"sum(CASE WHEN {of_month} AND type = ANY(CAST(:types AS text[]))"
        f" THEN (data ->> CAST(:sum{index} AS text))::numeric END)"
        for index in range(len(sums))
    ]
    columns = [
        "partition",
        f"{of_month} AS in_month",
        f"CASE WHEN {of_month} THEN contract_id END",
        f"CASE WHEN {of_month} THEN type END",
        "count(*)",
        *groups[: len(filters)],
        *added,
    ]
    grouped = [1, 2, 3, 4, *range(6, 6 + len(filters))]
    by = ", ".join(str(position) for position in grouped)
    return f"SELECT {', '.join(columns)} FROM events GROUP BY {by}", values


def _metered(
    usages: Iterable[_Usage], meters: Mapping[str, Mapping[str, Any]]
) -> tuple[int, dict[tuple[str, str], Decimal]]:
    """Give how many events count for some charge's meter, and each contract's quantities."""
    billable = 0
    quantities: dict[tuple[str, str], Decimal] = {}
    for usage in usages:
        counted = [code for code, meter in meters.items() if _counts(usage, meter)]
        billable += usage.count if counted else 0
        for code in counted:
            name = meters[code].get("property")
            quantity = Decimal(usage.count) if name is None else usage.sums[name] or ZERO
            key = (usage.contract_id, code)
            quantities[key] = EXACT.add(quantities.get(key, ZERO), quantity)
    return billable, quantities


def _counts(usage: _Usage, meter: Mapping[str, Any]) -> bool:
    wanted: Mapping[str, str] = meter.get("filter", {})
    return usage.type == meter["event_type"] and all(
        usage.properties[name] == value for name, value in wanted.items()
    )


async def _unpriced_customers(connection: AsyncConnection, period: Period) -> list[str]:
    rows = await connection.execute(
        text(
            "SELECT DISTINCT customer_id FROM events WHERE contract_id IS NULL"
            f" AND time >= :start AND time < :end ORDER BY 1 LIMIT {LISTED_IDS}"
        ),
        {"start": period.start, "end": period.end},
    )
    return [row[0] for row in rows]


def decoded(raw: str) -> dict[str, Any]:
    """Read a catalogue's JSON, numbers as decimals."""
    document: dict[str, Any] = _decode(raw)
    return document


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
