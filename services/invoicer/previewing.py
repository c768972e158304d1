"""A month's invoices as they would be, beside last month's, and what to look at. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.invoicer.building import Draft
from services.invoicer.carried.balances import Balance
from shared.money import EXACT, from_minor
from shared.periods import Period

_PLAUSIBLE_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


@dataclass(frozen=True, slots=True)
class LastMonth:
    """What a customer was invoiced the month before; the total is in minor units."""

    customer_id: str
    currency: str
    total_minor: int


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """What a preview looks at beside the invoice: the contact, use, and what is not decided."""

    email: str = ""
    used: bool = False
    used_last_month: bool = False
    open_conflicts: int = 0


@dataclass(frozen=True, slots=True)
class PreviewedInvoice:
    """An invoice as it would be, beside last month's.

    `change_percent` is by how much the total may differ from last month's without a warning,
    `least` the least total that is sent, in major units.
    """

    draft: Draft
    last_month: LastMonth | None
    customer: CustomerFacts
    change_percent: int
    least: Decimal = Decimal(0)

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
        draft, last, customer = self.draft, self.last_month, self.customer
        facts = {
            "first_invoice": last is None,
            "nothing_due": draft.total_minor == 0,
            "negative_total": draft.total_minor < 0,
            "below_minimum": 0 < from_minor(draft.total_minor, draft.key.currency) < self.least,
            "too_many_lines": draft.detail_sha256 is not None,
            "jump": last is not None and self._jumps(last.total_minor),
            "usage_stopped": customer.used_last_month and not customer.used,
            "bad_contact": not _PLAUSIBLE_EMAIL.fullmatch(customer.email),
            "open_conflicts": customer.open_conflicts > 0,
        }
        return [name for name, holds in facts.items() if holds]

    def _jumps(self, before: int) -> bool:
        return abs(self.draft.total_minor - before) * 100 > self.change_percent * abs(before)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What of a month is on no invoice, and could still come onto one if somebody acts.

    `events_under_way` are records on the log that the rater has not handled; None where Kafka
    does not answer, so that nobody knows.
    """

    unpriced_events: int = 0
    open_conflicts: int = 0
    open_dead_letters: int = 0
    events_under_way: int | None = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """A month's invoices as they would be now.

    `absent` are those who had an invoice last month and would have none, `left` what was carried
    forward of those who have no contract in the currency any more, and would be on none.
    """

    period: Period
    closed: bool
    invoices: Sequence[PreviewedInvoice]
    absent: Sequence[LastMonth]
    unsettled: Unsettled
    left: Sequence[Balance] = ()


def total_by_currency(found: Preview) -> dict[str, Decimal]:
    """Add up the previewed totals, in major units."""
    totals: dict[str, Decimal] = {}
    for one in found.invoices:
        currency = one.draft.key.currency
        amount = from_minor(one.draft.total_minor, currency)
        totals[currency] = EXACT.add(totals.get(currency, Decimal(0)), amount)
    return totals
