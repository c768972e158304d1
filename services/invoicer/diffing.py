"""What changed from one run to another, customer by customer. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Invoiced(Protocol):
    """What is compared of an invoice; the total is in minor units."""

    customer_id: str
    currency: str
    total_minor: int
    state: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A customer whose total differs; totals are in minor units, None where there is no invoice."""

    customer_id: str
    currency: str
    before_minor: int | None
    after_minor: int | None

    @property
    def change_minor(self) -> int:
        """How much more it is."""
        return (self.after_minor or 0) - (self.before_minor or 0)


def diff_runs(before: Iterable[Invoiced], after: Iterable[Invoiced]) -> list[Changed]:
    """Give who is invoiced otherwise, or in one of the runs only, by customer and currency.

    Void invoices do not count.
    """
    old, new = _totals(before), _totals(after)
    return [
        Changed(*key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _totals(invoices: Iterable[Invoiced]) -> dict[tuple[str, str], int]:
    totals: dict[tuple[str, str], int] = {}
    for one in invoices:
        if one.state != "void":
            key = (one.customer_id, one.currency)
            totals[key] = totals.get(key, 0) + one.total_minor
    return totals
