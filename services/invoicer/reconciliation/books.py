"""Reads a month's figures out of Postgres, all from one snapshot. I/O: reads of Postgres.

The events are passed over once, however many meters there are; what a month's usage costs is
then reckoned from the plans, not from what the rater wrote.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.invoicer.reconciliation.expected import metered_amount, recurring_amount
from services.invoicer.reconciliation.figures import (
    ChargeFigures,
    LogPartition,
    MonthEvents,
    OurInvoice,
    OurLine,
    PostedFigures,
)
from shared.money import EXACT
from shared.periods import Period

LISTED_IDS = 1000
"""How many ids a difference names at most; its count counts them all."""

ZERO = Decimal(0)

_LOG = text(
    "SELECT o.partition, o.next, coalesce(min(b.first_offset), o.next) AS first,"
    " coalesce(sum(b.next_offset - b.first_offset), 0)::bigint AS span,"
    " coalesce(sum(b.records), 0)::bigint AS records,"
    " coalesce(sum(b.stored), 0)::bigint AS stored,"
    " coalesce(sum(b.duplicates), 0)::bigint AS duplicates,"
    " coalesce(sum(b.conflicts), 0)::bigint AS conflicts,"
    " coalesce(sum(b.dead_letters), 0)::bigint AS dead_letters"
    " FROM offsets o LEFT JOIN batches b USING (topic, partition)"
    " WHERE o.topic = :topic GROUP BY o.partition, o.next ORDER BY o.partition"
)
_CONTRACTS = text(
    "SELECT c.id, p.currency, c.starts_at, c.ends_at, p.definition::text AS terms,"
    " d.definition::text AS schedule, EXISTS (SELECT FROM contract_months m"
    " WHERE m.contract_id = c.id AND m.period = :period) AS opened"
    " FROM contracts c JOIN plan_versions p ON p.id = c.plan_version_id"
    " LEFT JOIN discount_schedules d ON d.id = c.discount_schedule_id"
    " WHERE c.starts_at < :end AND (c.ends_at IS NULL OR c.ends_at > :start) ORDER BY c.id"
)
_ITEMS = text(
    "SELECT contract_id, charge, currency,"
    " coalesce(sum(quantity) FILTER (WHERE band NOT LIKE '%flat fee'), 0) AS quantity,"
    " sum(amount) AS amount"
    " FROM line_items WHERE usage_period = :period GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)
_USED = text(
    "SELECT currency, count(*) AS used_items, sum(amount) AS used_amount,"
    " count(*) FILTER (WHERE posting_period <> usage_period) AS later_items,"
    " coalesce(sum(amount) FILTER (WHERE posting_period <> usage_period), 0) AS later_amount"
    " FROM line_items WHERE usage_period = :period GROUP BY 1"
)
_POSTED = text(
    "WITH placed AS (SELECT i.id, i.currency, i.amount, i.usage_period < i.posting_period AS late,"
    " v.id IS NULL AS open, v.period <> i.posting_period OR v.currency <> i.currency"
    " OR v.customer_id <> i.customer_id AS misplaced"
    " FROM line_items i LEFT JOIN invoice_line_items l ON l.line_item_id = i.id"
    " LEFT JOIN invoices v ON v.id = l.invoice_id WHERE i.posting_period = :period)"
    " SELECT currency, count(*) AS items, sum(amount) AS amount,"
    " count(*) FILTER (WHERE late) AS late_items,"
    " coalesce(sum(amount) FILTER (WHERE late), 0) AS late_amount,"
    " count(*) FILTER (WHERE open) AS uninvoiced,"
    " coalesce(sum(amount) FILTER (WHERE open), 0) AS uninvoiced_amount,"
    f" (array_agg(id ORDER BY id) FILTER (WHERE open))[1\\:{LISTED_IDS}] AS uninvoiced_ids,"
    " count(*) FILTER (WHERE misplaced) AS misplaced,"
    " coalesce(sum(amount) FILTER (WHERE misplaced), 0) AS misplaced_amount,"
    f" (array_agg(id ORDER BY id) FILTER (WHERE misplaced))[1\\:{LISTED_IDS}] AS misplaced_ids"
    " FROM placed GROUP BY 1"
)
_LINKED = text(
    "SELECT k.invoice_id, k.position, count(*) AS items, sum(i.amount) AS amount"
    " FROM invoices v JOIN invoice_line_items k ON k.invoice_id = v.id"
    " JOIN line_items i ON i.id = k.line_item_id WHERE v.period = :period"
    " AND i.posting_period = v.period AND i.currency = v.currency"
    " AND i.customer_id = v.customer_id GROUP BY 1, 2"
)
_LINES = text(
    "SELECT l.invoice_id, l.position, l.description, l.amount_minor, l.exact_amount"
    " FROM invoices v JOIN invoice_lines l ON l.invoice_id = v.id"
    " WHERE v.period = :period ORDER BY 1, 2"
)
_INVOICES = text(
    "SELECT id, customer_id, billing_key, currency, state, total_minor, payload_sha256,"
    " stripe_invoice_id FROM invoices WHERE period = :period ORDER BY customer_id, currency, id"
)


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


async def read_log(connection: AsyncConnection, topic: str) -> list[LogPartition]:
    """Read what the rater handled of each partition; the log's own ends are not known here."""
    rows = await connection.execute(_LOG, {"topic": topic})
    return [LogPartition(row.partition, 0, *row[1:]) for row in rows]


async def read_meters(connection: AsyncConnection) -> dict[str, dict[str, Any]]:
    """Read the meters that a charge of some plan is on."""
    rows = await connection.execute(
        text(
            "SELECT code, definition::text FROM meters WHERE code IN (SELECT charge ->> 'meter'"
            " FROM plan_versions, jsonb_array_elements(definition -> 'charges') AS charge)"
        )
    )
    return {row.code: _decoded(row.definition) for row in rows}


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


async def read_charges(
    connection: AsyncConnection, period: Period, quantities: Mapping[tuple[str, str], Decimal]
) -> list[ChargeFigures]:
    """Set what each charge must come to by its plan beside what its line items come to."""
    month = {"start": period.start, "end": period.end, "period": str(period)}
    items = {tuple(row[:3]): row for row in await connection.execute(_ITEMS, month)}
    figures = []
    for contract in await connection.execute(_CONTRACTS, month):
        schedule = None if contract.schedule is None else _decoded(contract.schedule)
        for charge in _decoded(contract.terms)["charges"]:
            item = items.pop((contract.id, charge["code"], contract.currency), None)
            quantity = quantities.get((contract.id, charge.get("meter", "")), ZERO)
            if charge["model"] == "recurring":
                expected: Decimal | None = recurring_amount(
                    charge["amount"], period, contract.starts_at, contract.ends_at
                )
            else:
                expected = metered_amount(charge, schedule, quantity)
            figures.append(
                ChargeFigures(
                    contract.id,
                    charge["code"],
                    contract.currency,
                    quantity,
                    # A fee is no usage: what it counts is not compared.
                    item.quantity if item and charge["model"] != "recurring" else ZERO,
                    expected,
                    item.amount if item else ZERO,
                    posted=contract.opened,
                )
            )
    for (contract_id, code, currency), row in items.items():
        if row.quantity or row.amount:
            figures.append(
                ChargeFigures(
                    contract_id, code, currency, ZERO, row.quantity, ZERO, row.amount, planned=False
                )
            )
    return figures


async def read_posted(connection: AsyncConnection, period: Period) -> list[PostedFigures]:
    """Read the line items used in the month, and those posted to it, by currency."""
    month = {"period": str(period)}
    found: dict[str, dict[str, Any]] = {}
    for query in (_USED, _POSTED):
        for row in await connection.execute(query, month):
            given = {name: value for name, value in row._mapping.items() if value is not None}
            found.setdefault(row.currency, {}).update(given)
    return [PostedFigures(**found[currency]) for currency in sorted(found)]


async def read_invoices(connection: AsyncConnection, period: Period) -> list[OurInvoice]:
    """Read the month's invoices with their lines and what is linked to each."""
    month = {"period": str(period)}
    linked = {tuple(row[:2]): row for row in await connection.execute(_LINKED, month)}
    lines: dict[str, list[OurLine]] = {}
    for row in await connection.execute(_LINES, month):
        link = linked.get((row.invoice_id, row.position))
        held = (0, ZERO) if link is None else (link.items, link.amount)
        lines.setdefault(row.invoice_id, []).append(OurLine(*row[1:], *held))
    invoices = []
    for row in await connection.execute(_INVOICES, month):
        link = linked.get((row.id, None))
        hidden = (0, ZERO) if link is None else (link.items, link.amount)
        facts = {**row._mapping, "hidden_items": hidden[0], "hidden_amount": hidden[1]}
        invoices.append(OurInvoice(**facts, lines=lines.get(row.id, [])))
    return invoices


async def read_set_aside(connection: AsyncConnection) -> tuple[list[str], list[str]]:
    """Name the open dead letters and the conflicts, the newest first."""
    letters = await connection.execute(
        text(f"SELECT id FROM dead_letters WHERE state = 'open' ORDER BY 1 DESC LIMIT {LISTED_IDS}")
    )
    conflicts = await connection.execute(
        text(f"SELECT source, event_id FROM conflicts ORDER BY id DESC LIMIT {LISTED_IDS}")
    )
    return [str(row.id) for row in letters], [f"{row.source} {row.event_id}" for row in conflicts]


async def read_states(connection: AsyncConnection, period: Period) -> tuple[bool, str | None]:
    """Tell whether the month is closed, and the state of its run, None without one."""
    month = {"period": str(period)}
    closed = await connection.scalar(
        text("SELECT EXISTS (SELECT FROM periods WHERE period = :period AND state = 'closed')"),
        month,
    )
    state = await connection.scalar(
        text("SELECT state FROM invoice_runs WHERE period = :period"), month
    )
    return bool(closed), state


def _decoded(raw: str) -> dict[str, Any]:
    decoded: dict[str, Any] = _decode(raw)
    return decoded


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
