"""What a posting works with: a contract's terms, and which months are still open. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.rater.pricing import Charge, Coverage, MeteredCharge, is_metered
from services.rater.pricing.discounts import DiscountSchedule, discounted
from shared.periods import Period


class PlanTerms(msgspec.Struct, frozen=True):
    """What a plan version says of prices, as the catalogue's JSON holds it."""

    name: str
    charges: list[Charge]
    tokens: str = "included"


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract with its prices, overrides and discount applied."""

    id: str
    customer_id: str
    starts_at: datetime
    ends_at: datetime | None
    currency: str
    plan: str
    charges: tuple[Charge, ...]
    metered: tuple[MeteredCharge, ...]

    def covers(self, moment: datetime) -> bool:
        """Tell whether a moment lies in the contract's half-open range."""
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)

    def coverage(self, period: Period) -> Coverage | None:
        """Give the days of a month that are the contract's; None where it does not touch it."""
        if self.starts_at >= period.end or (self.ends_at and self.ends_at <= period.start):
            return None
        return Coverage.of(period, self.starts_at, self.ends_at)


def make_contract(
    *,
    contract_id: str,
    customer_id: str,
    starts_at: datetime,
    ends_at: datetime | None,
    currency: str,
    plan: str,
    charges: Sequence[Charge],
    overrides: Sequence[Charge] = (),
    schedule: DiscountSchedule | None = None,
) -> Contract:
    """Put a contract's overrides in the place of its plan's charges, and its discount on them."""
    priced = agreed_charges(charges, overrides, schedule)
    return Contract(
        contract_id,
        customer_id,
        starts_at,
        ends_at,
        currency,
        plan,
        priced,
        tuple(charge for charge in priced if is_metered(charge)),
    )


def agreed_charges(
    charges: Sequence[Charge], overrides: Sequence[Charge], schedule: DiscountSchedule | None
) -> tuple[Charge, ...]:
    """Give a plan's charges as a contract has them: overridden by code, then discounted."""
    own = {charge.code: charge for charge in overrides}
    return tuple(discounted(own.get(charge.code, charge), schedule) for charge in charges)


@dataclass(frozen=True, slots=True)
class PostingState:
    """What a posting must know of the database at its moment, under the lock."""

    batch_id: int
    closed: frozenset[str]

    def posting_period(self, usage_period: str) -> str:
        """Give the month onto whose invoice usage goes: its own, or the first after all closed.

        Months are closed in their order, so that nothing is left in one before.
        """
        newest = max(self.closed, default="")
        return str(Period.parse(newest).next()) if usage_period <= newest else usage_period
