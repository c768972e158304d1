"""What a contract's charge must come to in a month, reckoned from the plan alone. Pure.

It shares no code with the rater and goes another way, in fractions: were both wrong in the
same place, it would not be for the same reason.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from shared.money import EXACT
from shared.periods import Period

_PLACES = 10**12
_ZERO = Fraction(0)

_Span = tuple[Fraction, Fraction | None]


def metered_amount(
    charge: Mapping[str, Any], schedule: Mapping[str, Any] | None, quantity: Decimal
) -> Decimal | None:
    """Give what a quantity costs under a metered charge; None for a shape not known here.

    Every unit costs the price of the tier in which it lies, less the discount of the schedule's
    tier in which it lies. A tier's flat fee is due once it is reached, the first always.
    """
    used = Fraction(quantity)
    if charge["model"] == "unit":
        prices: Sequence[Mapping[str, Any]] = [{"unit_price": charge["unit_price"]}]
    elif charge["model"] == "graduated":
        prices = charge["tiers"]
    else:
        return None
    off: Sequence[Mapping[str, Any]] = [{"percent_off": 0}]
    if schedule is not None and schedule["charge"] == charge["code"]:
        off = schedule["tiers"]
    total = _ZERO
    for price_span, price in _spans(prices):
        for off_span, discount in _spans(off):
            share = 1 - Fraction(discount["percent_off"]) / 100
            units = _shared(price_span, off_span, used)
            total += units * Fraction(price["unit_price"]) * share
        below, _ = price_span
        if below == 0 or used > below:
            total += Fraction(price.get("flat_fee", 0))
    return _decimal(total)


def recurring_amount(
    amount: str | Decimal, period: Period, starts_at: datetime, ends_at: datetime | None
) -> Decimal:
    """Give a monthly fee for the days that a contract covers, to 12 decimal places, half up.

    A day is covered when the contract is in force at the day's last instant.
    """
    midnights = (period.start + timedelta(days=day) for day in range(1, period.days + 1))
    covered = sum(
        starts_at < midnight and (ends_at is None or ends_at >= midnight) for midnight in midnights
    )
    exact = Fraction(amount) * covered / period.days
    if covered in (0, period.days):
        return _decimal(exact)
    return _decimal(Fraction((2 * exact * _PLACES + 1) // 2, _PLACES))


def _decimal(value: Fraction) -> Decimal:
    """Write a fraction as the decimal that it is; `decimal.Inexact` where it is none."""
    return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def _spans(tiers: Sequence[Mapping[str, Any]]) -> list[tuple[_Span, Mapping[str, Any]]]:
    """Give each tier with where it begins and ends; None: it has no end."""
    spans: list[tuple[_Span, Mapping[str, Any]]] = []
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
