"""What each customer's invoice for a month is: read from the line items, built, compared.

I/O: reads of Postgres. Postgres adds the line items up (its NUMERIC is exact), so that what is
read grows with the lines of the invoices and not with the line items.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.building import ContractFacts, Draft, InvoiceKey, Posted, build_draft
from services.invoicer.previewing import LastMonth, Preview, PreviewedInvoice
from shared.periods import Period

_CONTRACTS = text(
    "SELECT c.id, p.plan, c.starts_at FROM contracts c"
    " JOIN plan_versions p ON p.id = c.plan_version_id"
    " WHERE c.id IN (SELECT contract_id FROM line_items WHERE posting_period = :period)"
)
_LAST_MONTH = text(
    "SELECT i.customer_id, i.currency, i.total_minor,"
    " coalesce(sum(l.quantity) FILTER (WHERE l.kind <> 'recurring'), 0) AS quantity"
    " FROM invoices i LEFT JOIN invoice_lines l ON l.invoice_id = i.id"
    " WHERE i.period = :period AND i.kind = 'monthly' AND i.state <> 'void'"
    " GROUP BY i.id ORDER BY 1, 2"
)
_UNPRICED = text(
    "SELECT count(*) FROM events WHERE contract_id IS NULL AND NOT voided"
    " AND time >= :start AND time < :end"
)


def _posted(ids: str) -> Any:
    return text(
        "SELECT customer_id, currency, contract_id, charge, band, kind, usage_period::text,"
        f" sum(quantity) AS quantity, unit_price, sum(amount) AS amount, {ids} AS ids"
        " FROM line_items WHERE posting_period = :period"
        " GROUP BY customer_id, currency, contract_id, charge, band, kind, usage_period, unit_price"
        " ORDER BY customer_id, currency"
    )


_SUMS = _posted("ARRAY[]::bigint[]")
_SUMS_WITH_IDS = _posted("array_agg(id)")


async def read_drafts(
    session: AsyncSession, period: Period, *, with_ids: bool = True
) -> Iterator[Draft]:
    """Build the invoice of every customer and currency with line items posted to a month.

    They come one by one, in the order of the customers. Without ids none of them says which
    line items it is made of.
    """
    month = {"period": str(period)}
    contracts = {
        row.id: ContractFacts(row.plan, row.starts_at)
        for row in await session.execute(_CONTRACTS, month)
    }
    query = _SUMS_WITH_IDS if with_ids else _SUMS
    rows = (await session.execute(query, month)).all()
    return (
        build_draft(
            InvoiceKey(customer_id, str(period), currency),
            (_read(row) for row in group),
            contracts,
        )
        for (customer_id, currency), group in groupby(rows, key=lambda row: tuple(row[:2]))
    )


def _read(row: Any) -> Posted:
    return Posted(
        ids=row.ids,
        contract_id=row.contract_id,
        charge=row.charge,
        band=row.band,
        kind=row.kind,
        usage_period=row.usage_period,
        quantity=row.quantity,
        unit_price=row.unit_price,
        amount=row.amount,
    )


async def preview(session: AsyncSession, period: Period) -> Preview:
    """Give every invoice of a month as it would be now; nothing is written or sent.

    All is read from one snapshot, as the rater may post meanwhile: call it first in a session.
    """
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    rows = await session.execute(_LAST_MONTH, {"period": str(period.previous())})
    last_month = {(row.customer_id, row.currency): LastMonth(*row) for row in rows}
    invoices = [
        PreviewedInvoice(draft, last_month.pop((draft.key.customer_id, draft.key.currency), None))
        for draft in await read_drafts(session, period, with_ids=False)
    ]
    closed = await session.scalar(
        text("SELECT EXISTS (SELECT FROM periods WHERE period = :period AND state = 'closed')"),
        {"period": str(period)},
    )
    unpriced = await session.scalar(_UNPRICED, {"start": period.start, "end": period.end})
    return Preview(period, bool(closed), invoices, tuple(last_month.values()), int(unpriced or 0))
