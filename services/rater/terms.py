"""What a posting works with: a contract's terms, and which months are still open. Pure."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from services.rater.pricing.charges import Charge, MeteredCharge, RecurringCharge
from services.rater.pricing.discounts import DiscountSchedule, discounted
from shared.periods import Period


class PlanTerms(msgspec.Struct, frozen=True):
    """What a plan version says of prices, as the catalogue's JSON holds it."""

    name: str
    charges: list[Charge]
    tokens: str = "included"


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract with its prices, discount applied."""

    id: str
    customer_id: str
    starts_at: datetime
    ends_at: datetime | None
    currency: str
    plan: str
    metered: tuple[MeteredCharge, ...]
    recurring: tuple[RecurringCharge, ...]

    def covers(self, moment: datetime) -> bool:
        """Tell whether a moment lies in the contract's half-open range."""
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


def make_contract(
    *,
    contract_id: str,
    customer_id: str,
    starts_at: datetime,
    ends_at: datetime | None,
    currency: str,
    plan: str,
    terms: PlanTerms,
    schedule: DiscountSchedule | None,
) -> Contract:
    """Lay a contract's discount over its plan's charges."""
    charges = [discounted(charge, schedule) for charge in terms.charges]
    return Contract(
        contract_id,
        customer_id,
        starts_at,
        ends_at,
        currency,
        plan,
        tuple(charge for charge in charges if not isinstance(charge, RecurringCharge)),
        tuple(charge for charge in charges if isinstance(charge, RecurringCharge)),
    )


@dataclass(frozen=True, slots=True)
class PostingState:
    """What a posting must know of the database at its moment, under the lock."""

    batch_id: int
    closed: frozenset[str]

    def posting_period(self, usage_period: str) -> str:
        """Give the month onto whose invoice usage goes: its own, or the first still open."""
        period = usage_period
        while period in self.closed:
            period = str(Period.parse(period).next())
        return period
