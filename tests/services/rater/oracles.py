"""What charges cost, reckoned in two other ways than the product's. Fractions; pure.

`by_tenths` goes through a quantity tenth by tenth of a unit, and asks of each what it costs.
`at_once` has one closed form for a quantity of any size: prices are summed over where tiers
and discounts overlap. Neither lays a schedule over a charge first, as the product does.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import TypeVar

from services.rater.pricing import (
    Charge,
    Coverage,
    FlatCharge,
    GraduatedCharge,
    MeteredCharge,
    PackageCharge,
    RecurringCharge,
    Tier,
    UnitCharge,
    VolumeCharge,
)
from services.rater.pricing.discounts import DiscountSchedule, DiscountTier

Bands = dict[str, tuple[Fraction, Fraction]]
"""Quantity and amount by band; a band of nothing is left out."""

TENTH = Fraction(1, 10)
NOTHING_OFF = [DiscountTier(None, Decimal(0))]
_HasBound = Tier | DiscountTier
_OfTier = TypeVar("_OfTier", Tier, DiscountTier)


def by_tenths(
    charge: Charge, schedule: DiscountSchedule | None, quantity: Decimal, coverage: Coverage
) -> Bands:
    """Price a quantity of whole tenths, each tenth for itself."""
    bands: Bands = {}
    if isinstance(charge, FlatCharge | RecurringCharge):
        _add_fee(bands, charge, coverage)
        _take_off(bands, charge.discount_percent)
        return bands
    priced = 0
    for tenth in range(1, int(quantity * 10) + 1):
        if Fraction(tenth, 10) <= Fraction(charge.free_units):
            _add(bands, "free", TENTH, Fraction(0))
        else:
            priced += 1
    if isinstance(charge, PackageCharge):
        _add_packages(bands, charge, priced)
    else:
        _add_tenths(bands, charge, schedule, priced)
    _take_off(bands, charge.discount_percent)
    amount = sum(amount for _, amount in bands.values())
    least = None if charge.minimum_spend is None else share(charge.minimum_spend, coverage)
    if least is not None and amount < least:
        _add(bands, "minimum spend", Fraction(0), least - amount)
        amount = least
    if charge.maximum_spend is not None and amount > Fraction(charge.maximum_spend):
        _add(bands, "maximum spend", Fraction(0), Fraction(charge.maximum_spend) - amount)
    return bands


def share(amount: Decimal, coverage: Coverage) -> Fraction:
    """Give the covered days' part of a month's amount; 12 places, a half goes up."""
    part = sum(Fraction(amount) / coverage.days_in_month for _ in coverage.days)
    if len(coverage.days) == coverage.days_in_month:
        return Fraction(amount)
    return Fraction(floor(part * 10**12 + Fraction(1, 2)), 10**12)


def _add(bands: Bands, label: str, quantity: Fraction, amount: Fraction) -> None:
    had = bands.get(label, (Fraction(0), Fraction(0)))
    bands[label] = (had[0] + quantity, had[1] + amount)
    if not any(bands[label]):
        del bands[label]


def _add_fee(bands: Bands, charge: FlatCharge | RecurringCharge, coverage: Coverage) -> None:
    days = list(coverage.days)
    if not days:
        return
    if isinstance(charge, FlatCharge):
        _add(bands, "flat", Fraction(1), Fraction(charge.amount))
        return
    label = f"days {days[0]} to {days[-1]} of {coverage.days_in_month}"
    if len(days) == coverage.days_in_month:
        label = "whole month"
    _add(bands, label, Fraction(1), share(charge.amount, coverage))


def _add_packages(bands: Bands, charge: PackageCharge, tenths: int) -> None:
    """Begin a package with the first tenth, and with each that finds the one before full."""
    room = Fraction(0)
    for _ in range(tenths):
        if not room:
            room = Fraction(charge.package_size)
            label = f"packages of {_plain(charge.package_size)}"
            _add(bands, label, Fraction(1), Fraction(charge.package_price))
        room -= TENTH


def _add_tenths(
    bands: Bands,
    charge: UnitCharge | GraduatedCharge | VolumeCharge,
    schedule: DiscountSchedule | None,
    tenths: int,
) -> None:
    prices = [Tier(None, charge.unit_price)] if isinstance(charge, UnitCharge) else charge.tiers
    percents = schedule.tiers if schedule else NOTHING_OFF
    volume = isinstance(charge, VolumeCharge) or (
        schedule is not None and schedule.mode == "volume"
    )
    fees_due: set[int] = set()
    for tenth in range(tenths + 1):
        # At no usage the first tier counts as reached; volume, the last tenth decides for all.
        place = tenths if volume else tenth
        tier = _tier_of(place, prices)
        off = Fraction(percents[_tier_of(place, percents)].percent_off)
        label = _label(place, prices, percents)
        if isinstance(charge, UnitCharge) and schedule is None:
            label = "all"
        if tier not in fees_due:
            fees_due.add(tier)
            fee = Fraction(prices[tier].flat_fee)
            if fee:
                _add(bands, f"{label} flat fee", Fraction(1), fee)
        if tenth:
            price = Fraction(prices[tier].unit_price) * (100 - off) / 100
            _add(bands, label, TENTH, price * TENTH)


def _tier_of(tenth: int, tiers: Sequence[_HasBound]) -> int:
    """Find the tier of the n-th tenth of a unit: bounds are inclusive."""
    for position, tier in enumerate(tiers):
        if tier.up_to is None or Fraction(tenth, 10) <= Fraction(tier.up_to):
            return position
    raise AssertionError("the last tier has no end")


def _label(tenth: int, prices: Sequence[Tier], percents: Sequence[DiscountTier]) -> str:
    """Name the stretch between the two nearest bounds of either list."""
    found = {*(one.up_to for one in prices), *(one.up_to for one in percents)}
    bounds = [bound for bound in found if bound is not None]
    below = max((one for one in bounds if Fraction(one) < Fraction(tenth, 10)), default=Decimal(0))
    above = min((one for one in bounds if Fraction(one) >= Fraction(tenth, 10)), default=None)
    return f"over {_plain(below)}" if above is None else f"{_plain(below)} to {_plain(above)}"


def _take_off(bands: Bands, percent: Decimal | None) -> None:
    if percent is not None:
        off = sum(amount * Fraction(percent) / 100 for _, amount in bands.values())
        _add(bands, f"discount {_plain(percent)} %", Fraction(0), Fraction(-off))


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def at_once(
    charge: Charge, schedule: DiscountSchedule | None, quantity: Decimal, coverage: Coverage
) -> Fraction:
    """Price a quantity of any size; the amount alone."""
    if isinstance(charge, FlatCharge | RecurringCharge):
        amount = Fraction(0)
        if isinstance(charge, RecurringCharge):
            amount = share(charge.amount, coverage) if coverage.days else amount
        elif coverage.days:
            amount = Fraction(charge.amount)
        return amount * (100 - Fraction(charge.discount_percent or 0)) / 100
    priced = max(Fraction(quantity) - Fraction(charge.free_units), Fraction(0))
    amount = _units_at_once(charge, schedule, priced)
    amount *= (100 - Fraction(charge.discount_percent or 0)) / 100
    if charge.minimum_spend is not None:
        amount = max(amount, share(charge.minimum_spend, coverage))
    if charge.maximum_spend is not None:
        amount = min(amount, Fraction(charge.maximum_spend))
    return amount


def _units_at_once(
    charge: MeteredCharge, schedule: DiscountSchedule | None, quantity: Fraction
) -> Fraction:
    if isinstance(charge, PackageCharge):
        return ceil(quantity / Fraction(charge.package_size)) * Fraction(charge.package_price)
    prices = [Tier(None, charge.unit_price)] if isinstance(charge, UnitCharge) else charge.tiers
    percents = schedule.tiers if schedule else NOTHING_OFF
    if isinstance(charge, VolumeCharge) or (schedule is not None and schedule.mode == "volume"):
        tier = prices[_bounds_below(quantity, prices)]
        off = Fraction(percents[_bounds_below(quantity, percents)].percent_off)
        cost = quantity * Fraction(tier.unit_price) * (100 - off) / 100
        return cost + Fraction(tier.flat_fee)
    reached = _bounds_below(quantity, prices) + 1
    amount = sum((Fraction(tier.flat_fee) for tier in prices[:reached]), Fraction(0))
    for price_from, price_to, tier in _stretches(prices, quantity):
        amount += (price_to - price_from) * Fraction(tier.unit_price)
        for from_, to, percent in _stretches(percents, quantity):
            both = max(min(to, price_to) - max(from_, price_from), Fraction(0))
            amount -= both * Fraction(tier.unit_price) * Fraction(percent.percent_off) / 100
    return amount


def _bounds_below(quantity: Fraction, tiers: Sequence[_HasBound]) -> int:
    return sum(tier.up_to is not None and Fraction(tier.up_to) < quantity for tier in tiers)


def _stretches(
    tiers: Sequence[_OfTier], quantity: Fraction
) -> list[tuple[Fraction, Fraction, _OfTier]]:
    """Give where each tier lies within a quantity: from, to and the tier."""
    ends: list[Fraction] = [
        quantity if t.up_to is None else min(Fraction(t.up_to), quantity) for t in tiers
    ]
    return list(zip([Fraction(0), *ends[:-1]], ends, tiers, strict=True))
