"""The JSON of a preview: the same over HTTP and from the command."""

from typing_extensions import TypedDict

from services.invoicer.documents import LineDocument, line_document, money
from services.invoicer.previewing import (
    LastMonth,
    Preview,
    PreviewedInvoice,
    total_by_currency,
)
from shared.money import with_minor_unit


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
                "amount": money(one.amount_minor, one.currency),
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
        "total": money(one.draft.total_minor, key.currency),
        "last_month": None if one.last_month is None else _last(one.last_month),
        "change": None if one.change is None else with_minor_unit(one.change, key.currency),
        "warnings": one.warnings,
        "lines": [line_document(line, key.currency) for line in one.draft.lines],
    }


def _last(one: LastMonth) -> str:
    return money(one.total_minor, one.currency)
