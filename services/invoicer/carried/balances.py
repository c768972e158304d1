"""What a customer's carried amounts come to, and what becomes of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from services.invoicer.carrying import Minimums
from shared.money import from_minor

Fate = Literal["next_invoice", "next_run", "below_minimum", "credit"]


@dataclass(frozen=True, slots=True)
class Balance:
    """Amounts carried forward that no invoice has taken up yet, in minor units.

    `since` is the month of the oldest of them, also of those that were carried on; `invoices`
    are the ones that left them. `is_last`: no contract of the customer in the currency runs on.
    """

    customer_id: str
    currency: str
    amount_minor: int
    since: str
    invoices: Sequence[str]
    is_last: bool

    @property
    def key(self) -> tuple[str, str]:
        """Whose it is, and in which currency."""
        return self.customer_id, self.currency

    def fate(self, minimums: Minimums) -> Fate:
        """Tell what becomes of it.

        `next_run`: it has come to the minimum, and is invoiced by itself unless the customer has
        an invoice anyway. `next_invoice`: it waits for one. The others wait in vain, as no contract
        runs: `below_minimum` is less than Stripe charges, `credit` is owed to the customer.
        """
        least = minimums.least(self.currency, is_last=self.is_last)
        if self.amount_minor > 0 and from_minor(self.amount_minor, self.currency) >= least:
            return "next_run"
        if not self.is_last:
            return "next_invoice"
        return "credit" if self.amount_minor < 0 else "below_minimum"
