"""Reads a month's figures out of Postgres, all from one snapshot. I/O: reads of Postgres.

What a month's usage costs is reckoned from the events and the contracts' terms, not from what
the rater wrote. The events themselves are read in `metered`.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.invoicer.reconciliation.expected import (
    agreed_charges,
    counts_units,
    covered_share,
    expected_amount,
)
from services.invoicer.reconciliation.figures import (
    ChargeFigures,
    LogPartition,
    OurCredit,
    OurInvoice,
    OurLine,
    PostedFigures,
    SetAside,
)
from services.invoicer.reconciliation.metered import LISTED_IDS, ZERO, decoded
from shared.periods import Period

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
_CLOSED_LETTERS = text(
    "SELECT state, count(*) FROM dead_letters"
    " WHERE topic = :topic AND state <> 'open' GROUP BY state"
)
_MOVED = text(
    "SELECT partition, sum(count)::bigint AS moved FROM ("
    " SELECT partition, count(*) AS count FROM conflicts"
    "  WHERE EXISTS (SELECT FROM conflicts WHERE state = 'taken') GROUP BY partition"
    " UNION ALL SELECT partition, -sum(conflicts) FROM batches"
    "  WHERE topic = :topic AND EXISTS (SELECT FROM conflicts WHERE state = 'taken')"
    "  GROUP BY partition"
    ") AS counts GROUP BY partition HAVING sum(count) <> 0"
)
_CONTRACTS = text(
    "SELECT c.id, p.currency, c.starts_at, c.ends_at, p.definition::text AS terms,"
    " c.overrides::text AS overrides, d.definition::text AS schedule,"
    " EXISTS (SELECT FROM contract_months m"
    " WHERE m.contract_id = c.id AND m.period = :period) AS opened"
    " FROM contracts c JOIN plan_versions p ON p.id = c.plan_version_id"
    " LEFT JOIN discount_schedules d ON d.id = c.discount_schedule_id"
    " WHERE c.starts_at < :end AND (c.ends_at IS NULL OR c.ends_at > :start) ORDER BY c.id"
)
_ITEMS = text(
    "SELECT contract_id, charge, currency,"
    " coalesce(sum(quantity) FILTER (WHERE band NOT LIKE '%flat fee'"
    " AND band NOT LIKE 'packages of %'), 0) AS quantity,"
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
_CARRIED = text(
    "SELECT c.invoice_id, c.position, sum(s.total_minor)::bigint AS total_minor"
    " FROM invoices v JOIN invoice_carries c ON c.invoice_id = v.id"
    " JOIN invoices s ON s.id = c.source_id WHERE v.period = :period"
    " AND s.state = 'carried_forward' AND s.currency = v.currency"
    " AND s.customer_id = v.customer_id AND s.period < v.period GROUP BY 1, 2"
)
_LINES = text(
    "SELECT l.invoice_id, l.position, l.description, l.amount_minor, l.exact_amount"
    " FROM invoices v JOIN invoice_lines l ON l.invoice_id = v.id"
    " WHERE v.period = :period ORDER BY 1, 2"
)
_CREDITS = text(
    "SELECT n.id, v.currency, n.amount_minor, n.state = 'issued' AS is_issued,"
    " n.stripe_credit_note_id FROM credit_notes n JOIN invoices v ON v.id = n.invoice_id"
    " WHERE v.period = :period AND n.state <> 'refused' ORDER BY n.id"
)
_INVOICES = text(
    "SELECT id, customer_id, billing_key, currency, state, total_minor, payload_sha256,"
    " stripe_invoice_id, EXISTS (SELECT FROM invoices n WHERE n.customer_id = v.customer_id"
    " AND n.period = v.period AND n.currency = v.currency AND n.kind = v.kind"
    " AND n.revision > v.revision) AS replaced,"
    " v.state = 'carried_forward'"
    " AND NOT EXISTS (SELECT FROM invoice_carries k WHERE k.source_id = v.id)"
    " AND NOT EXISTS (SELECT FROM contracts c JOIN plan_versions p ON p.id = c.plan_version_id"
    " WHERE c.customer_id = v.customer_id AND p.currency = v.currency"
    " AND (c.ends_at IS NULL OR c.ends_at > now())) AS left_over"
    " FROM invoices v WHERE period = :period ORDER BY customer_id, currency, id"
)


async def read_log(connection: AsyncConnection, topic: str) -> list[LogPartition]:
    """Read what the rater handled of each partition; the log's own ends are not known here."""
    rows = await connection.execute(_LOG, {"topic": topic})
    return [LogPartition(row.partition, 0, *row[1:]) for row in rows]


async def read_charges(
    connection: AsyncConnection, period: Period, quantities: Mapping[tuple[str, str], Decimal]
) -> list[ChargeFigures]:
    """Set what each charge must come to by its terms beside what its line items come to.

    What the line items of a fee or of packages count is no usage, and is not compared.
    """
    month = {"start": period.start, "end": period.end, "period": str(period)}
    items = {tuple(row[:3]): row for row in await connection.execute(_ITEMS, month)}
    figures = []
    for contract in await connection.execute(_CONTRACTS, month):
        schedule = None if contract.schedule is None else decoded(contract.schedule)
        overrides = [] if contract.overrides is None else decoded(contract.overrides)
        share = covered_share(period, contract.starts_at, contract.ends_at)
        for charge in agreed_charges(decoded(contract.terms)["charges"], overrides):
            item = items.pop((contract.id, charge["code"], contract.currency), None)
            quantity = quantities.get((contract.id, charge.get("meter", "")), ZERO)
            compared = counts_units(charge)
            figures.append(
                ChargeFigures(
                    contract.id,
                    charge["code"],
                    contract.currency,
                    quantity if compared else ZERO,
                    item.quantity if item and compared else ZERO,
                    expected_amount(charge, schedule, quantity, share),
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
    carried = {tuple(row[:2]): row[2] for row in await connection.execute(_CARRIED, month)}
    lines: dict[str, list[OurLine]] = {}
    for row in await connection.execute(_LINES, month):
        place = (row.invoice_id, row.position)
        link = linked.get(place)
        held = (0, ZERO) if link is None else (link.items, link.amount)
        line = OurLine(*row[1:], *held)
        lines.setdefault(row.invoice_id, []).append(replace(line, carried_minor=carried.get(place)))
    invoices = []
    for row in await connection.execute(_INVOICES, month):
        link = linked.get((row.id, None))
        hidden = (0, ZERO) if link is None else (link.items, link.amount)
        facts = {**row._mapping, "hidden_items": hidden[0], "hidden_amount": hidden[1]}
        invoices.append(OurInvoice(**facts, lines=lines.get(row.id, [])))
    return invoices


async def read_credits(connection: AsyncConnection, period: Period) -> list[OurCredit]:
    """Read what was given back of the month's invoices."""
    rows = await connection.execute(_CREDITS, {"period": str(period)})
    return [OurCredit(*row) for row in rows]


async def read_set_aside(connection: AsyncConnection, topic: str) -> SetAside:
    """Read what was set aside and what was decided on it; the open ones by name, newest first."""
    letters = await connection.execute(
        text(f"SELECT id FROM dead_letters WHERE state = 'open' ORDER BY 1 DESC LIMIT {LISTED_IDS}")
    )
    conflicts = await connection.execute(
        text(
            "SELECT source, event_id FROM conflicts WHERE state = 'open'"
            f" ORDER BY id DESC LIMIT {LISTED_IDS}"
        )
    )
    closed = await connection.execute(_CLOSED_LETTERS, {"topic": topic})
    resolved = await connection.scalar(text("SELECT count(*) FROM conflicts WHERE state <> 'open'"))
    return SetAside(
        open_dead_letters=[str(row.id) for row in letters],
        conflicts=[f"{row.source} {row.event_id}" for row in conflicts],
        closed_dead_letters=dict(map(tuple, closed)),
        resolved_conflicts=int(resolved or 0),
    )


async def read_moved_rows(connection: AsyncConnection, topic: str) -> dict[int, int]:
    """Count, by partition, the versions of events that stand as a conflict beyond those counted.

    Where a conflict was resolved by taking the other version, a row of `events` and one of
    `conflicts` have changed places; both are on the log where they were. Where the customers
    differ, so do their partitions.
    """
    rows = await connection.execute(_MOVED, {"topic": topic})
    return {row.partition: row.moved for row in rows}


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
