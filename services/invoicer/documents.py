"""The JSON of what the invoicer tells: the same over HTTP and from commands.

Money and quantities are decimal strings, money in the major unit of its currency.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import convert
from typing_extensions import TypedDict

from services.invoicer.building import DraftLine
from services.invoicer.diffing import Changed
from services.invoicer.previewing import (
    LastMonth,
    Preview,
    PreviewedInvoice,
    total_by_currency,
)
from services.invoicer.token_costs import TokenCostDocument
from shared.moments import format_moment
from shared.money import from_minor, plain, with_minor_unit
from shared.tables.invoicer import Invoice, InvoiceLine, InvoiceRun, PeriodState


class PeriodDocument(TypedDict):
    """A month that is being closed or is closed."""

    period: str
    state: str
    closing_at: str | None
    closed_at: str | None
    end_offsets: dict[str, int]


class PeriodsDocument(TypedDict):
    """Months, the newest first; a month that is not among them is open."""

    periods: list[PeriodDocument]


class LineDocument(TypedDict):
    """A line of an invoice; `exact_amount` was rounded to `amount`, once."""

    position: int
    contract: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: str
    unit_price: str
    exact_amount: str
    amount: str
    description: str


class PreviewedDocument(TypedDict):
    """An invoice as it would be, beside last month's."""

    customer: str
    currency: str
    total: str
    last_month: str | None
    change: str | None
    warnings: list[str]
    lines: list[LineDocument]


class AbsentDocument(TypedDict):
    """A customer who had an invoice last month and would have none."""

    customer: str
    currency: str
    last_month: str


class LeftDocument(TypedDict):
    """What was carried forward of a customer without a contract, and since which month."""

    customer: str
    currency: str
    amount: str
    since: str


class PreviewDocument(TypedDict):
    """A month's invoices as they would be now; `closed` tells whether they can still change.

    What is counted is on no invoice: events that no contract covers, conflicts and dead letters
    that nobody decided, and events that are not rated yet (null: Kafka does not answer). What is
    left of carried amounts is of customers without a contract, and comes onto no invoice.
    """

    period: str
    closed: bool
    totals: dict[str, str]
    unpriced_events: int
    open_conflicts: int
    open_dead_letters: int
    events_under_way: int | None
    invoices: list[PreviewedDocument]
    absent: list[AbsentDocument]
    carried_left: list[LeftDocument]


class InvoiceDocument(TypedDict):
    """An invoice, and where it stands on its way to Stripe."""

    id: str
    run: str
    customer: str
    period: str
    currency: str
    state: str
    total: str
    revision: int
    stripe_invoice: str | None
    due_at: str | None
    billing_key: str
    payload_sha256: str
    detail_sha256: str | None
    note: str | None
    attempts: int
    last_error: str | None
    created_at: str | None
    changed_at: str | None


class FieldDocument(TypedDict):
    """A custom field, as it stands on the invoice."""

    name: str
    value: str


class WholeInvoiceDocument(InvoiceDocument):
    """An invoice with its lines, and with what stands on it besides."""

    custom_fields: list[FieldDocument]
    footer: str | None
    paid_to_anthropic: list[TokenCostDocument]
    lines: list[LineDocument]


class InvoicesDocument(TypedDict):
    """Invoices, by month and customer."""

    invoices: list[InvoiceDocument]


class RunDocument(TypedDict):
    """A run, and how many of its invoices are in each state.

    `payload_sha256` is what an approval names: it follows from all that its invoices say.
    """

    id: str
    period: str
    state: str
    payload_sha256: str
    started_by: str
    created_at: str | None
    approved_by: str | None
    approved_at: str | None
    paused_because: str | None
    finished_at: str | None
    states: dict[str, int]


class WholeRunDocument(RunDocument):
    """A run with its invoices."""

    invoices: list[InvoiceDocument]


class ChangedDocument(TypedDict):
    """A customer who is invoiced otherwise; null where a run has no invoice for it."""

    customer: str
    currency: str
    before: str | None
    after: str | None
    change: str


class DiffDocument(TypedDict):
    """What changed from one run to another, by customer and currency."""

    run: str
    against: str
    changed: list[ChangedDocument]


class RunsDocument(TypedDict):
    """Runs, the newest month first."""

    runs: list[RunDocument]


def period_document(period: PeriodState) -> PeriodDocument:
    """Describe a month's state."""
    return {
        "period": period.period,
        "state": period.state,
        "closing_at": format_moment(period.closing_at),
        "closed_at": format_moment(period.closed_at),
        "end_offsets": {name: int(end) for name, end in (period.end_offsets or {}).items()},
    }


def preview_document(preview: Preview) -> PreviewDocument:
    """Describe a preview."""
    totals = total_by_currency(preview)
    return {
        "period": str(preview.period),
        "closed": preview.closed,
        "totals": {name: with_minor_unit(amount, name) for name, amount in totals.items()},
        "unpriced_events": preview.unsettled.unpriced_events,
        "open_conflicts": preview.unsettled.open_conflicts,
        "open_dead_letters": preview.unsettled.open_dead_letters,
        "events_under_way": preview.unsettled.events_under_way,
        "invoices": [_previewed_document(one) for one in preview.invoices],
        "absent": [
            {"customer": one.customer_id, "currency": one.currency, "last_month": _last(one)}
            for one in preview.absent
        ],
        "carried_left": [
            {
                "customer": one.customer_id,
                "currency": one.currency,
                "amount": _money(one.amount_minor, one.currency),
                "since": one.since,
            }
            for one in preview.left
        ],
    }


def _previewed_document(one: PreviewedInvoice) -> PreviewedDocument:
    key = one.draft.key
    return {
        "customer": key.customer_id,
        "currency": key.currency,
        "total": _money(one.draft.total_minor, key.currency),
        "last_month": None if one.last_month is None else _last(one.last_month),
        "change": None if one.change is None else with_minor_unit(one.change, key.currency),
        "warnings": one.warnings,
        "lines": [line_document(line, key.currency) for line in one.draft.lines],
    }


def line_document(line: DraftLine | InvoiceLine, currency: str) -> LineDocument:
    """Describe a line of an invoice."""
    return {
        "position": line.position,
        "contract": line.contract_id,
        "charge": line.charge,
        "band": line.band,
        "kind": line.kind,
        "usage_period": line.usage_period,
        "quantity": plain(line.quantity),
        "unit_price": plain(line.unit_price),
        "exact_amount": plain(line.exact_amount),
        "amount": _money(line.amount_minor, currency),
        "description": line.description,
    }


def invoice_document(invoice: Invoice) -> InvoiceDocument:
    """Describe an invoice without its lines."""
    return {
        "id": invoice.id,
        "run": invoice.run_id,
        "customer": invoice.customer_id,
        "period": invoice.period,
        "currency": invoice.currency,
        "state": invoice.state,
        "total": _money(invoice.total_minor, invoice.currency),
        "revision": invoice.revision,
        "stripe_invoice": invoice.stripe_invoice_id,
        "due_at": format_moment(invoice.due_at),
        "billing_key": invoice.billing_key,
        "payload_sha256": invoice.payload_sha256,
        "detail_sha256": invoice.detail_sha256,
        "note": invoice.note,
        "attempts": invoice.attempts,
        "last_error": invoice.last_error,
        "created_at": format_moment(invoice.created_at),
        "changed_at": format_moment(invoice.changed_at),
    }


def whole_invoice_document(invoice: Invoice, lines: Sequence[InvoiceLine]) -> WholeInvoiceDocument:
    """Describe an invoice with its lines."""
    described = [line_document(line, invoice.currency) for line in lines]
    return {
        **invoice_document(invoice),
        "custom_fields": convert(invoice.custom_fields, list[FieldDocument]),
        "footer": invoice.footer,
        "paid_to_anthropic": convert(invoice.token_costs, list[TokenCostDocument]),
        "lines": described,
    }


def run_document(run: InvoiceRun, states: Mapping[str, int]) -> RunDocument:
    """Describe a run without its invoices."""
    return {
        "id": run.id,
        "period": run.period,
        "state": run.state,
        "payload_sha256": run.payload_sha256,
        "started_by": run.started_by,
        "created_at": format_moment(run.created_at),
        "approved_by": run.approved_by,
        "approved_at": format_moment(run.approved_at),
        "paused_because": run.paused_because,
        "finished_at": format_moment(run.finished_at),
        "states": dict(states),
    }


def whole_run_document(
    run: InvoiceRun, states: Mapping[str, int], invoices: Sequence[Invoice]
) -> WholeRunDocument:
    """Describe a run with each of its invoices."""
    return {**run_document(run, states), "invoices": [invoice_document(one) for one in invoices]}


def diff_document(run_id: str, against: str, changed: Iterable[Changed]) -> DiffDocument:
    """Describe what changed between two runs."""
    return {
        "run": run_id,
        "against": against,
        "changed": [
            {
                "customer": one.customer_id,
                "currency": one.currency,
                "before": None
                if one.before_minor is None
                else _money(one.before_minor, one.currency),
                "after": None if one.after_minor is None else _money(one.after_minor, one.currency),
                "change": _money(one.change_minor, one.currency),
            }
            for one in changed
        ],
    }


def _money(minor: int, currency: str) -> str:
    return with_minor_unit(from_minor(minor, currency), currency)


def _money_or_none(minor: int | None, currency: str) -> str | None:
    return None if minor is None else _money(minor, currency)


def _last(one: LastMonth) -> str:
    return _money(one.total_minor, one.currency)
