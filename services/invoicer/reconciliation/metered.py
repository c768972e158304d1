"""Counts and meters the events of a month, apart from the rater's code. I/O: reads of Postgres.

The table is passed over once, however many meters there are, and its part of the month once
more for each meter that counts different values. Events that were voided stay rows of the
table, and count for no meter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.invoicer.reconciliation.figures import MonthEvents
from shared.money import EXACT
from shared.periods import Period

LISTED_IDS = 1000
"""How many ids a difference names at most; its count counts them all."""

ZERO = Decimal(0)


_Meters: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Meters' definitions, by code."""

_Quantities: TypeAlias = dict[tuple[str, str], Decimal]


@dataclass(frozen=True, slots=True)
class _Usage:
    """Events alike in all that meters filter by: how many, and what numbers they have."""

    contract_id: str
    type: str
    properties: Mapping[str, str | None]
    count: int
    sums: Mapping[str, Decimal | None]
    peaks: Mapping[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class EventFigures:
    """What one pass over the events finds."""

    rows: Mapping[int, int]
    """All events by partition."""
    month: MonthEvents
    quantities: Mapping[tuple[str, str], Decimal]
    """The month's quantities by contract and meter."""


async def read_meters(connection: AsyncConnection) -> dict[str, dict[str, Any]]:
    """Read the meters that a charge of some plan or contract is on."""
    rows = await connection.execute(
        text(
            "SELECT code, definition::text FROM meters WHERE code IN (SELECT charge ->> 'meter'"
            " FROM plan_versions, jsonb_array_elements(definition -> 'charges') AS charge"
            " UNION SELECT charge ->> 'meter'"
            " FROM contracts, jsonb_array_elements(overrides) AS charge)"
        )
    )
    return {row.code: decoded(row.definition) for row in rows}


async def read_events(connection: AsyncConnection, period: Period, meters: _Meters) -> EventFigures:
    """Count all events, and meter those of the month, in one pass over the table."""
    filters = sorted({name for meter in meters.values() for name in meter.get("filter", {})})
    sums = _properties(meters, "sum")
    peaks = _properties(meters, "max")
    statement, values = _events_query(filters, sums, peaks)
    month = {"start": period.start, "end": period.end}
    rows: dict[int, int] = {}
    usages: list[_Usage] = []
    total = unpriced = voided = 0
    for row in await connection.execute(text(statement), {**month, **values}):
        partition, in_month, is_voided, contract_id, event_type, count, *rest = row
        rows[partition] = rows.get(partition, 0) + count
        if not in_month:
            continue
        total += count
        if is_voided:
            voided += count
        elif contract_id is None:
            unpriced += count
        else:
            found = iter(rest)
            usages.append(
                _Usage(
                    contract_id,
                    event_type,
                    {name: next(found) for name in filters},
                    count,
                    {name: next(found) for name in sums},
                    {name: next(found) for name in peaks},
                )
            )
    billable, quantities = _metered(usages, meters)
    for code, meter in meters.items():
        if meter["aggregate"] == "unique_count":
            quantities |= await _unique_counts(connection, period, code, meter)
    events = MonthEvents(
        total,
        billable,
        unpriced,
        await _unpriced_customers(connection, period) if unpriced else [],
        voided,
        await _voided_events(connection, period) if voided else [],
    )
    return EventFigures(rows, events, quantities)


def _properties(meters: _Meters, aggregate: str) -> dict[str, list[str]]:
    """Give the properties whose numbers meters look at, with the event types that have them."""
    types: dict[str, set[str]] = {}
    for meter in meters.values():
        if meter["aggregate"] == aggregate:
            types.setdefault(meter["property"], set()).add(meter["event_type"])
    return {name: sorted(types[name]) for name in sorted(types)}


def _events_query(
    filters: Sequence[str], sums: Mapping[str, list[str]], peaks: Mapping[str, list[str]]
) -> tuple[str, dict[str, Any]]:
    """Write the pass: events grouped by all that decides what they count for.

    Properties are taken out of the JSON only within the month, and numbers only where a meter
    looks at them: another type's property of the same name need not be one.
    """
    of_month = "time >= :start AND time < :end"
    values: dict[str, Any] = {}
    groups = []
    for index, name in enumerate(filters):
        values[f"filter{index}"] = name
        groups.append(f"CASE WHEN {of_month} THEN data ->> CAST(:filter{index} AS text) END")
    numbers = []
    for function, properties in (("sum", sums), ("max", peaks)):
        for index, (name, types) in enumerate(properties.items()):
            place = f"{function}{index}"
            values |= {place: name, f"{place}_types": types}
            numbers.append(
                f"{function}(CASE WHEN {of_month} AND NOT voided"
                f" AND type = ANY(CAST(:{place}_types AS text[]))"
                f" AND jsonb_typeof(data -> CAST(:{place} AS text)) = 'number'"
                f" THEN (data ->> CAST(:{place} AS text))::numeric END)"
            )
    columns = [
        "partition",
        f"{of_month} AS in_month",
        f"CASE WHEN {of_month} THEN voided END",
        f"CASE WHEN {of_month} THEN contract_id END",
        f"CASE WHEN {of_month} THEN type END",
        "count(*)",
        *groups,
        *numbers,
    ]
    grouped = [1, 2, 3, 4, 5, *range(7, 7 + len(groups))]
    by = ", ".join(str(position) for position in grouped)
    return f"SELECT {', '.join(columns)} FROM events GROUP BY {by}", values


def _metered(usages: Iterable[_Usage], meters: _Meters) -> tuple[int, _Quantities]:
    """Give how many events count for some charge's meter, and each contract's quantities.

    Those of meters that count different values are left out: they are no sum over groups.
    """
    billable = 0
    quantities: _Quantities = {}
    for usage in usages:
        counting = [code for code, meter in meters.items() if _counts(usage, meter)]
        billable += usage.count if counting else 0
        for code in counting:
            key = (usage.contract_id, code)
            before = quantities.get(key, ZERO)
            match meters[code]["aggregate"]:
                case "count":
                    quantities[key] = EXACT.add(before, Decimal(usage.count))
                case "sum":
                    added = usage.sums[meters[code]["property"]]
                    quantities[key] = EXACT.add(before, added or ZERO)
                case "max":
                    quantities[key] = max(before, usage.peaks[meters[code]["property"]] or ZERO)
    return billable, quantities


def _counts(usage: _Usage, meter: Mapping[str, Any]) -> bool:
    wanted: Mapping[str, str] = meter.get("filter", {})
    return usage.type == meter["event_type"] and all(
        usage.properties[name] == value for name, value in wanted.items()
    )


async def _unique_counts(
    connection: AsyncConnection, period: Period, code: str, meter: Mapping[str, Any]
) -> _Quantities:
    """Count the different values of a property in a month, by contract; null is none."""
    wanted = ""
    values: dict[str, Any] = {"start": period.start, "end": period.end}
    values |= {"type": meter["event_type"], "property": meter["property"]}
    for index, (name, value) in enumerate(meter.get("filter", {}).items()):
        values |= {f"filter{index}": name, f"value{index}": value}
        wanted += f" AND data ->> CAST(:filter{index} AS text) = :value{index}"
    rows = await connection.execute(
        text(
            "SELECT contract_id, count(DISTINCT data ->> CAST(:property AS text)) AS members"
            " FROM events WHERE time >= :start AND time < :end AND type = :type"
            f" AND NOT voided AND contract_id IS NOT NULL{wanted} GROUP BY 1"
        ),
        values,
    )
    return {(row.contract_id, code): Decimal(row.members) for row in rows}


async def _unpriced_customers(connection: AsyncConnection, period: Period) -> list[str]:
    rows = await connection.execute(
        text(
            "SELECT DISTINCT customer_id FROM events WHERE contract_id IS NULL AND NOT voided"
            f" AND time >= :start AND time < :end ORDER BY 1 LIMIT {LISTED_IDS}"
        ),
        {"start": period.start, "end": period.end},
    )
    return [row[0] for row in rows]


async def _voided_events(connection: AsyncConnection, period: Period) -> list[str]:
    rows = await connection.execute(
        text(
            "SELECT source, id FROM events WHERE voided AND time >= :start AND time < :end"
            f" ORDER BY 1, 2 LIMIT {LISTED_IDS}"
        ),
        {"start": period.start, "end": period.end},
    )
    return [f"{row.source} {row.id}" for row in rows]


def decoded(raw: str) -> Any:
    """Read the JSON of a catalogue or contract, numbers as decimals."""
    return _decode(raw)


_decode = msgspec.json.Decoder(float_hook=Decimal).decode
