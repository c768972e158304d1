"""What a charge's whole amount is brought to: discount, then minimum, then maximum. Pure.

Each shows as a band of its own, which has an amount and no quantity, so that the bands
before it stay as they are.
"""

from collections.abc import Iterable
from decimal import Decimal

from services.rater.pricing.bands import ZERO, Band, total
from shared.money import EXACT, plain

_HUNDRED = Decimal(100)


def with_discount(bands: list[Band], percent: Decimal | None) -> list[Band]:
    """Take a percentage off the bands' amount."""
    if not percent:
        return bands
    off = EXACT.divide(EXACT.multiply(total(bands), percent), _HUNDRED)
    return _with(bands, f"discount {plain(percent)} %", EXACT.minus(off))


def with_minimum(bands: list[Band], minimum: Decimal | None) -> list[Band]:
    """Bring the bands' amount up to a minimum, which is due without usage too."""
    amount = total(bands)
    if minimum is None or amount >= minimum:
        return bands
    return _with(bands, "minimum spend", EXACT.subtract(minimum, amount))


def with_maximum(bands: list[Band], maximum: Decimal | None) -> list[Band]:
    """Bring the bands' amount down to a maximum."""
    amount = total(bands)
    if maximum is None or amount <= maximum:
        return bands
    return _with(bands, "maximum spend", EXACT.subtract(maximum, amount))


def _with(bands: Iterable[Band], label: str, amount: Decimal) -> list[Band]:
    return [*bands, Band(label, ZERO, ZERO, amount)] if amount else [*bands]
