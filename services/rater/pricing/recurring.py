"""The shapes `recurring` and `flat`: fees for a month, whatever was used. Pure."""

from decimal import Decimal

from services.rater.pricing.bands import Band
from services.rater.pricing.coverage import Coverage


def bands(amount: Decimal, coverage: Coverage) -> list[Band]:
    """Price the covered days of a month by their share; none covered costs nothing."""
    if not coverage.days:
        return []
    return [_fee(coverage.label, coverage.prorate(amount))]


def flat_bands(amount: Decimal, coverage: Coverage) -> list[Band]:
    """Price a month that is covered for a day or more, in full."""
    return [_fee("flat", amount)] if coverage.days else []


def _fee(label: str, amount: Decimal) -> Band:
    return Band(label, Decimal(1), amount, amount)
