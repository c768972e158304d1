"""Volume discounts: a contract's schedule laid over a metered charge. Pure."""

from decimal import Decimal

import msgspec

from services.rater.pricing.charges import (
    Charge,
    GraduatedCharge,
    RecurringCharge,
    Tier,
    UnitCharge,
)
from shared.money import EXACT

_HUNDRED = Decimal(100)


class DiscountTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units up to and including `up_to` (None: without end) are `percent_off` cheaper."""

    up_to: Decimal | None
    percent_off: Decimal


class DiscountSchedule(msgspec.Struct, frozen=True):
    """A named discount on one charge; graduated: each unit by its own tier."""

    charge: str
    tiers: list[DiscountTier]
    description: str = ""


def discounted(charge: Charge, schedule: DiscountSchedule | None) -> Charge:
    """Give the charge as it is under a schedule; other charges stay as they are."""
    if schedule is None or isinstance(charge, RecurringCharge) or charge.code != schedule.charge:
        return charge
    prices = [Tier(None, charge.unit_price)] if isinstance(charge, UnitCharge) else charge.tiers
    return GraduatedCharge(charge.code, charge.meter, _overlaid(prices, schedule.tiers))


def _overlaid(prices: list[Tier], discounts: list[DiscountTier]) -> list[Tier]:
    """Cut the tiers at both lists' bounds, so that each has one price and one discount."""
    price_bounds = {tier.up_to for tier in prices if tier.up_to is not None}
    discount_bounds = {tier.up_to for tier in discounts if tier.up_to is not None}
    bounds = sorted(price_bounds | discount_bounds)
    tiers: list[Tier] = []
    flat_fees_left = list(prices)
    for bound in (*bounds, None):
        price = next(tier for tier in prices if _reaches(tier.up_to, bound))
        discount = next(tier for tier in discounts if _reaches(tier.up_to, bound))
        flat_fee = price.flat_fee if price in flat_fees_left else Decimal(0)
        if price in flat_fees_left:
            flat_fees_left.remove(price)
        share = EXACT.divide(EXACT.subtract(_HUNDRED, discount.percent_off), _HUNDRED)
        tiers.append(Tier(bound, EXACT.multiply(price.unit_price, share), flat_fee))
    return tiers


def _reaches(up_to: Decimal | None, bound: Decimal | None) -> bool:
    return up_to is None or (bound is not None and bound <= up_to)
