"""The JSON of months and invoices: the same over HTTP and from commands.

Money and quantities are decimal strings, money in the major unit of its currency.
"""

from collections.abc import Sequence

from msgspec import convert
from typing_extensions import TypedDict

from services.invoicer.building import DraftLine
from services.invoicer.token_costs import TokenCostDocument
from shared.moments import format_moment
from shared.money import from_minor, plain, with_minor_unit
from shared.tables.invoicer import Invoice, InvoiceLine, PeriodState


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


def period_document(period: PeriodState) -> PeriodDocument:
    """Describe a month's state."""
    return {
        "period": period.period,
        "state": period.state,
        "closing_at": format_moment(period.closing_at),
        "closed_at": format_moment(period.closed_at),
        "end_offsets": {name: int(end) for name, end in (period.end_offsets or {}).items()},
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
        "amount": money(line.amount_minor, currency),
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
        "total": money(invoice.total_minor, invoice.currency),
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


def money(minor: int, currency: str) -> str:
    """Write an amount in minor units as it is told: in major units, with all their places."""
    return with_minor_unit(from_minor(minor, currency), currency)
