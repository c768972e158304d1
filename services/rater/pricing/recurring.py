"""The shape `recurring`: a monthly fee, by the days that a contract covers. Pure."""

from decimal import Decimal

from services.rater.pricing.bands import Band
from shared.money import prorate


def bands(amount: Decimal, days: range, days_in_month: int) -> list[Band]:
    """Price the covered days of a month; none covered costs nothing."""
    if not days:
        return []
    fee = prorate(amount, len(days), days_in_month)
    if len(days) == days_in_month:
        label = "whole month"
    else:
        label = f"days {days.start} to {days.stop - 1} of {days_in_month}"
    return [Band(label, Decimal(1), fee, fee)]
