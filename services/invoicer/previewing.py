"""A month's invoices as they would be, beside last month's, and what to look at. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.invoicer.building import Draft
from shared.money import EXACT, from_minor
from shared.periods import Period

JUMP_PERCENT = 50
"""A total that differs from last month's by more than this is worth a look."""


@dataclass(frozen=True, slots=True)
class LastMonth:
    """What a customer was invoiced the month before; the total is in minor units."""

    customer_id: str
    currency: str
    total_minor: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class PreviewedInvoice:
    """An invoice as it would be, beside last month's."""

    draft: Draft
    last_month: LastMonth | None

    @property
    def change(self) -> Decimal | None:
        """The difference from last month's total, in major units; None without one."""
        if self.last_month is None:
            return None
        change = self.draft.total_minor - self.last_month.total_minor
        return from_minor(change, self.draft.key.currency)

    @property
    def warnings(self) -> list[str]:
        """Names what finance should look at before the invoice is sent."""
        draft, last = self.draft, self.last_month
        facts = {
            "first_invoice": last is None,
            "nothing_due": draft.total_minor == 0,
            "negative_total": draft.total_minor < 0,
            "too_many_lines": draft.detail_sha256 is not None,
            "jump": last is not None and _jumps(draft.total_minor, last.total_minor),
            "usage_stopped": last is not None and bool(last.quantity) and not draft.quantity,
        }
        return [name for name, holds in facts.items() if holds]


@dataclass(frozen=True, slots=True)
class Preview:
    """A month's invoices as they would be now.

    `absent` are those who had an invoice last month and would have none; `unpriced_events`
    are events of the month that no contract covers, so that they are on no invoice.
    """

    period: Period
    closed: bool
    invoices: Sequence[PreviewedInvoice]
    absent: Sequence[LastMonth]
    unpriced_events: int


def _jumps(total: int, before: int) -> bool:
    return abs(total - before) * 100 > JUMP_PERCENT * abs(before)


def total_by_currency(found: Preview) -> dict[str, Decimal]:
    """Add up the previewed totals, in major units."""
    totals: dict[str, Decimal] = {}
    for one in found.invoices:
        currency = one.draft.key.currency
        amount = from_minor(one.draft.total_minor, currency)
        totals[currency] = EXACT.add(totals.get(currency, Decimal(0)), amount)
    return totals
