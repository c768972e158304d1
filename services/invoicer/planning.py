"""What each customer's invoice for a month is: read from the line items, built, compared.

I/O: reads of Postgres and of the log's ends. Postgres adds the line items up (its NUMERIC is
exact), so that what is read grows with the lines of the invoices and not with the line items.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, groupby
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
from services.invoicer.carried.reading import read_balances
from services.invoicer.carrying import UNSENT, Carried, Minimums
from services.invoicer.previewing import (
    CustomerFacts,
    LastMonth,
    Preview,
    PreviewedInvoice,
    Unsettled,
)
from services.invoicer.token_costs import TokenPrice, Tokens, token_costs
from services.invoicer.verifying import first_state
from services.invoicer.wording import About
from shared.broker import end_offsets
from shared.errors import UnavailableError
from shared.moments import format_moment
from shared.periods import Period
from shared.settings import Settings
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
_RUNNING_ON = text(
    "SELECT DISTINCT c.customer_id, p.currency FROM contracts c"
    " JOIN plan_versions p ON p.id = c.plan_version_id"
    " WHERE c.ends_at IS NULL OR c.ends_at > :end"
)
_REFERENCES = text(
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
    "SELECT customer_id, currency, total_minor FROM invoices"
    " WHERE period = :period AND kind = 'monthly' AND state <> 'void' ORDER BY 1, 2"
)
_UNPRICED = text(
    "SELECT count(*) FROM events WHERE contract_id IS NULL AND NOT voided"
    " AND time >= :start AND time < :end"
)
_CUSTOMERS = text("SELECT id, email FROM customers")
_USED = text(
    "SELECT DISTINCT c.customer_id, u.usage_period = :period AS now"
    " FROM usage_totals u JOIN contracts c ON c.id = u.contract_id"
    " WHERE u.usage_period IN (:period, :before) AND u.dimension = '' AND u.quantity > 0"
)
_CONFLICTS = text(
    "SELECT customer_id, count(*) AS events FROM conflicts"
    " WHERE state = 'open' AND time >= :start AND time < :end GROUP BY customer_id"
)
_DEAD_LETTERS = text(
    "SELECT count(*) FROM dead_letters WHERE state = 'open' AND received_at >= :start"
)
_HANDLED = text("SELECT partition, next FROM offsets WHERE topic = :topic")


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
    session: AsyncSession, period: Period, minimums: Minimums, *, with_ids: bool = True
) -> Iterator[Draft]:
    """Build the invoice of every customer and currency with line items posted to a month.

    They come one by one, in the order of the customers. Without ids none of them says which
    line items it is made of. What was carried forward goes onto the customer's next invoice in
    its currency; where that has come to the minimum it is an invoice by itself, after the others.
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
    running = {tuple(row) for row in await session.execute(_RUNNING_ON, {"end": period.end})}

    def build(customer_id: str, currency: str, items: Iterable[Posted]) -> Draft:
        key = InvoiceKey(customer_id, str(period), currency)
        waiting = carried.get((customer_id, currency), ())
        draft = build_draft(key, items, contracts, waiting, about.get(customer_id, NOTHING_MORE))
        return replace(draft, is_last=(customer_id, currency) not in running)

    with_items = (
        build(*key, (_read(row) for row in group))
        for key, group in groupby(rows, key=lambda row: (row.customer_id, row.currency))
    )
    others = sorted(carried.keys() - {(row.customer_id, row.currency) for row in rows})
    alone = (build(*key, ()) for key in others)
    return chain(with_items, (one for one in alone if first_state(one, minimums)[0] not in UNSENT))


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
    facts = {row.id: row for row in await session.execute(_REFERENCES)}
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


async def preview(session: AsyncSession, period: Period, settings: Settings) -> Preview:
    """Give every invoice of a month as it would be now; nothing is written or sent.

    All is read from one snapshot, as the rater may post meanwhile: call it first in a session.
    """
    minimums = Minimums.read(settings.invoice_minimums)
    ends = await _log_ends(settings)
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    month = {"start": period.start, "end": period.end}
    rows = await session.execute(_LAST_MONTH, {"period": str(period.previous())})
    last_month = {(row.customer_id, row.currency): LastMonth(*row) for row in rows}
    conflicts = {
        row.customer_id: int(row.events) for row in await session.execute(_CONFLICTS, month)
    }
    customers = await _customer_facts(session, period, conflicts)
    invoices = [
        PreviewedInvoice(
            draft,
            last_month.pop((draft.key.customer_id, draft.key.currency), None),
            customers[draft.key.customer_id],
            settings.preview_change_percent,
            minimums.least(draft.key.currency, is_last=draft.is_last),
        )
        for draft in await read_drafts(session, period, minimums, with_ids=False)
    ]
    invoiced = {(one.draft.key.customer_id, one.draft.key.currency) for one in invoices}
    balances = await read_balances(session, before=period, at=period.end)
    closed = await session.scalar(
        text("SELECT EXISTS (SELECT FROM periods WHERE period = :period AND state = 'closed')"),
        {"period": str(period)},
    )
    unsettled = Unsettled(
        unpriced_events=int(await session.scalar(_UNPRICED, month) or 0),
        open_conflicts=sum(conflicts.values()),
        open_dead_letters=int(await session.scalar(_DEAD_LETTERS, {"start": period.start}) or 0),
        events_under_way=None if ends is None else await _under_way(session, settings, ends),
    )
    left = [one for one in balances if one.is_last and one.key not in invoiced]
    return Preview(period, bool(closed), invoices, tuple(last_month.values()), unsettled, left)


async def _customer_facts(
    session: AsyncSession, period: Period, conflicts: Mapping[str, int]
) -> dict[str, CustomerFacts]:
    months = {"period": str(period), "before": str(period.previous())}
    used: dict[bool, set[str]] = {True: set(), False: set()}
    for row in await session.execute(_USED, months):
        used[row.now].add(row.customer_id)
    return {
        row.id: CustomerFacts(
            row.email, row.id in used[True], row.id in used[False], conflicts.get(row.id, 0)
        )
        for row in await session.execute(_CUSTOMERS)
    }


async def _log_ends(settings: Settings) -> dict[int, int] | None:
    try:
        return await end_offsets(settings)
    except UnavailableError:
        return None


async def _under_way(session: AsyncSession, settings: Settings, ends: Mapping[int, int]) -> int:
    """Count the log's records that the rater has not handled."""
    rows = await session.execute(_HANDLED, {"topic": settings.usage_topic})
    handled = {row.partition: row.next for row in rows}
    return sum(max(0, end - handled.get(partition, 0)) for partition, end in ends.items())
