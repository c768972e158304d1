"""What each customer's invoice for a month is: read from the line items, built, compared.

I/O: reads of Postgres. Postgres adds the line items up (its NUMERIC is exact), so that what is
read grows with the lines of the invoices and not with the line items.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.building import (
    NOTHING_MORE,
    ContractFacts,
    Draft,
    InvoiceKey,
    Posted,
    build_draft,
)
from services.invoicer.carrying import Carried
from services.invoicer.previewing import LastMonth, Preview, PreviewedInvoice
from services.invoicer.token_costs import TokenPrice, Tokens, token_costs
from services.invoicer.wording import About
from shared.moments import format_moment
from shared.periods import Period
from shared.tables.invoicer import Invoice

_CONTRACTS = text(
    "SELECT c.id, p.plan, c.starts_at FROM contracts c"
    " JOIN plan_versions p ON p.id = c.plan_version_id"
    " WHERE c.id IN (SELECT contract_id FROM line_items WHERE posting_period = :period)"
)
_CONTRACTS_OF_CUSTOMER = text(
    "SELECT c.id, p.plan, c.starts_at FROM contracts c"
    " JOIN plan_versions p ON p.id = c.plan_version_id WHERE c.customer_id = :customer"
)
_CARRIED = text(
    "SELECT i.id, i.customer_id, i.currency, i.period::text, i.total_minor FROM invoices i"
    " WHERE i.state = 'carried_forward' AND i.period < :period"
    " AND NOT EXISTS (SELECT FROM invoice_carries c WHERE c.source_id = i.id)"
    " ORDER BY i.period, i.id"
)
_CUSTOMERS = text(
    "SELECT id, purchase_order, tax_id FROM customers"
    " WHERE purchase_order IS NOT NULL OR tax_id IS NOT NULL"
)
_TOKENS = text(
    "SELECT c.customer_id, u.value, u.meter = 'input_tokens' AS is_input,"
    " sum(u.quantity) AS quantity FROM usage_totals u JOIN contracts c ON c.id = u.contract_id"
    " JOIN plan_versions p ON p.id = c.plan_version_id"
    " WHERE u.usage_period = :period AND u.dimension = 'model_price' AND u.quantity <> 0"
    " AND u.meter IN ('input_tokens', 'output_tokens')"
    " AND p.definition ->> 'tokens' = 'paid_by_customer' GROUP BY 1, 2, 3"
)
_PRICES = text(
    "SELECT model, effective_from, currency, input_per_million, output_per_million"
    " FROM model_prices"
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


def _posted(ids: str, which: str) -> Any:
    return text(
        "SELECT customer_id, currency, contract_id, charge, band, kind, usage_period::text,"
        f" sum(quantity) AS quantity, unit_price, sum(amount) AS amount, {ids} AS ids"
        f" FROM line_items WHERE {which}"
        " GROUP BY customer_id, currency, contract_id, charge, band, kind, usage_period, unit_price"
        " ORDER BY customer_id, currency"
    )


_SUMS = _posted("ARRAY[]::bigint[]", "posting_period = :period")
_SUMS_WITH_IDS = _posted("array_agg(id)", "posting_period = :period")
_SUMS_OF_INVOICE = _posted(
    "ARRAY[]::bigint[]",
    "id IN (SELECT line_item_id FROM invoice_line_items WHERE invoice_id = :invoice)",
)
_CARRIED_INTO = text(
    "SELECT i.id, i.period::text, i.total_minor FROM invoice_carries c"
    " JOIN invoices i ON i.id = c.source_id WHERE c.invoice_id = :invoice ORDER BY c.position"
)


async def read_drafts(
    session: AsyncSession, period: Period, *, with_ids: bool = True
) -> Iterator[Draft]:
    """Build the invoice of every customer and currency with line items posted to a month.

    They come one by one, in the order of the customers. Without ids none of them says which
    line items it is made of. What was carried forward goes onto the customer's next invoice in
    its currency, and waits until there is one.
    """
    month = {"period": str(period)}
    contracts = _contract_facts(await session.execute(_CONTRACTS, month))
    carried: dict[tuple[str, str], list[Carried]] = {}
    for row in await session.execute(_CARRIED, month):
        one = Carried(row.id, row.period, row.total_minor)
        carried.setdefault((row.customer_id, row.currency), []).append(one)
    about = await _read_about(session, period)
    query = _SUMS_WITH_IDS if with_ids else _SUMS
    rows = (await session.execute(query, month)).all()
    return (
        build_draft(
            InvoiceKey(customer_id, str(period), currency),
            (_read(row) for row in group),
            contracts,
            carried.get((customer_id, currency), ()),
            about.get(customer_id, NOTHING_MORE),
        )
        for (customer_id, currency), group in groupby(rows, key=lambda row: tuple(row[:2]))
    )


async def rebuild_draft(session: AsyncSession, invoice: Invoice) -> Draft:
    """Build a frozen invoice's lines again, from the line items and amounts that are on it.

    They never change, so that its lines and details come out as they were frozen.
    """
    of_invoice = {"invoice": invoice.id}
    customer = {"customer": invoice.customer_id}
    return build_draft(
        InvoiceKey(
            invoice.customer_id,
            invoice.period,
            invoice.currency,
            invoice.kind,
            invoice.revision,
        ),
        [_read(row) for row in await session.execute(_SUMS_OF_INVOICE, of_invoice)],
        _contract_facts(await session.execute(_CONTRACTS_OF_CUSTOMER, customer)),
        [Carried(*row) for row in await session.execute(_CARRIED_INTO, of_invoice)],
    )


def _contract_facts(rows: Iterable[Any]) -> dict[str, ContractFacts]:
    return {row.id: ContractFacts(row.plan, row.starts_at) for row in rows}


async def _read_about(session: AsyncSession, period: Period) -> dict[str, About]:
    """Read what invoices say besides their lines, by customer; who has nothing is not there."""
    prices = {
        f"{row.model}@{format_moment(row.effective_from)}": TokenPrice(*row[2:])
        for row in await session.execute(_PRICES)
    }
    used: dict[str, list[Tokens]] = {}
    for row in await session.execute(_TOKENS, {"period": str(period)}):
        used.setdefault(row.customer_id, []).append(Tokens(*row[1:]))
    facts = {row.id: row for row in await session.execute(_CUSTOMERS)}
    about = {}
    for customer in {*used, *facts}:
        known = facts.get(customer)
        about[customer] = About(
            known.purchase_order if known else None,
            known.tax_id if known else None,
            token_costs(used.get(customer, ()), prices),
        )
    return about


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
