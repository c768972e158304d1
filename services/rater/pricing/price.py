"""From a charge and a quantity, or a month's days, to bands. Pure."""

from datetime import datetime
from decimal import Decimal

from services.rater.pricing import graduated, recurring, unit
from services.rater.pricing.bands import Band
from services.rater.pricing.charges import MeteredCharge, RecurringCharge, UnitCharge
from shared.periods import Period


def price_quantity(charge: MeteredCharge, quantity: Decimal) -> list[Band]:
    """Give f(quantity): what the whole quantity of a month costs under a metered charge."""
    if isinstance(charge, UnitCharge):
        return unit.bands(charge.unit_price, quantity)
    return graduated.bands(charge.tiers, quantity)


def price_recurring(
    charge: RecurringCharge, period: Period, starts_at: datetime, ends_at: datetime | None
) -> list[Band]:
    """Give what a recurring charge costs for the days of a month that a contract covers."""
    return recurring.bands(charge.amount, period.days_covered(starts_at, ends_at), period.days)
