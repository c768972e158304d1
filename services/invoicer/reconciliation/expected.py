"""What a contract's charge must come to in a month, reckoned from its terms alone. Pure.

It shares no code with the rater and goes another way, in fractions: were both wrong in the
same place, it would not be for the same reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

from shared.money import EXACT
from shared.periods import Period

_PLACES = 10**12
_ZERO = Fraction(0)

_Terms: TypeAlias = Mapping[str, Any]
"""A charge, schedule or tier as its JSON says; numbers are texts or decimals."""

_Span: TypeAlias = tuple[Fraction, Fraction | None]


def agreed_charges(charges: Sequence[_Terms], overrides: Iterable[_Terms]) -> list[_Terms]:
    """Give a plan's charges, with a contract's own in the place of those of the same code."""
    own = {charge["code"]: charge for charge in overrides}
    return [own.get(charge["code"], charge) for charge in charges]


def counts_units(charge: _Terms) -> bool:
    """Tell whether the line items of a charge count the units of a meter.

    Those of a fee count the fee, and those of packages count packages.
    """
    return charge["model"] in ("unit", "graduated", "volume")


def covered_share(period: Period, starts_at: datetime, ends_at: datetime | None) -> Fraction:
    """Give the share of a month's days that a contract covers.

    A day is covered when the contract is in force at the day's last instant.
    """
    midnights = (period.start + timedelta(days=day) for day in range(1, period.days + 1))
    covered = sum(
        starts_at < midnight and (ends_at is None or ends_at >= midnight) for midnight in midnights
    )
    return Fraction(covered, period.days)


def expected_amount(
    charge: _Terms, schedule: _Terms | None, quantity: Decimal, share: Fraction
) -> Decimal | None:
    """Give what a charge costs for a month's quantity; None for a model not known here.

    `share` is the part of the month's days that the contract covers. Free units come off first;
    the discount comes off what the rest costs; the minimum, for the days covered, and then the
    maximum bound that.
    """
    units = max(_ZERO, Fraction(quantity) - _number(charge, "free_units"))
    match charge["model"]:
        case "unit" | "graduated" | "volume":
            amount = _by_tiers(charge, schedule, units)
        case "package":
            begun = -(-units // _number(charge, "package_size"))
            amount = begun * _number(charge, "package_price")
        case "flat":
            amount = _number(charge, "amount") if share else _ZERO
        case "recurring":
            amount = _prorated(_number(charge, "amount"), share)
        case _:
            return None
    amount *= 1 - _number(charge, "discount_percent") / 100
    amount = max(amount, _prorated(_number(charge, "minimum_spend"), share))
    if charge.get("maximum_spend") is not None:
        amount = min(amount, _number(charge, "maximum_spend"))
    return _decimal(amount)


def _by_tiers(charge: _Terms, schedule: _Terms | None, units: Fraction) -> Fraction:
    """Price units by the charge's tiers, less the discount of the schedule's tiers, if it fits.

    A schedule fits a single price and tiers of its own mode. Flat fees are not discounted.
    """
    model = charge["model"]
    prices: Sequence[_Terms] = charge["tiers"] if model != "unit" else [charge]
    off: Sequence[_Terms] = [{}]
    if schedule is not None and schedule["charge"] == charge["code"]:
        mode = schedule.get("mode", "graduated")
        if model in ("unit", mode):
            model, off = mode, schedule["tiers"]
    return (_volume if model == "volume" else _graduated)(prices, off, units)


def _graduated(prices: Sequence[_Terms], off: Sequence[_Terms], units: Fraction) -> Fraction:
    """Let every unit cost the price of the tier in which it lies, less the discount there.

    A tier's flat fee is due once a part of a unit lies in it, the first one's always.
    """
    total = _ZERO
    for price_span, price in _spans(prices):
        for off_span, discount in _spans(off):
            common = _shared(price_span, off_span, units)
            total += common * _number(price, "unit_price") * _part_due(discount)
        below, _ = price_span
        if below == 0 or units > below:
            total += _number(price, "flat_fee")
    return total


def _volume(prices: Sequence[_Terms], off: Sequence[_Terms], units: Fraction) -> Fraction:
    """Let all units cost the price of the tier that they reach, less the discount there."""
    price, discount = _reached(prices, units), _reached(off, units)
    each = _number(price, "unit_price") * _part_due(discount)
    return units * each + _number(price, "flat_fee")


def _reached(tiers: Sequence[_Terms], units: Fraction) -> _Terms:
    passed = [tier for tier in tiers[:-1] if units > _number(tier, "up_to")]
    return tiers[len(passed)]


def _part_due(discount: _Terms) -> Fraction:
    return 1 - _number(discount, "percent_off") / 100


def _prorated(amount: Fraction, share: Fraction) -> Fraction:
    """Give a share of an amount, to 12 decimal places, half up."""
    return Fraction((2 * amount * share * _PLACES + 1) // 2, _PLACES)


def _number(terms: _Terms, name: str) -> Fraction:
    return Fraction(terms.get(name) or 0)


def _decimal(value: Fraction) -> Decimal:
    """Write a fraction as the decimal that it is; `decimal.Inexact` where it is none."""
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def _spans(tiers: Sequence[_Terms]) -> list[tuple[_Span, _Terms]]:
    """Give each tier with where it begins and ends; None: it has no end."""
    spans: list[tuple[_Span, _Terms]] = []
    below = _ZERO
    for tier in tiers:
        up_to = tier.get("up_to")
        end = None if up_to is None else Fraction(up_to)
        spans.append(((below, end), tier))
        below = _ZERO if end is None else end
    return spans


def _shared(one: _Span, other: _Span, used: Fraction) -> Fraction:
    """Measure how much of the units 0 to `used` lies in both spans."""
    begin = max(one[0], other[0])
    end = min(bound for bound in (one[1], other[1], used) if bound is not None)
    return max(_ZERO, end - begin)
