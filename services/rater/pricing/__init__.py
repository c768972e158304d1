"""Prices: what a quantity of usage costs, as pure functions on exact decimals.

One small module a shape (`unit`, `graduated`, `recurring`), each from a quantity to bands;
`charges` holds what a plan says of a charge, `discounts` what a contract takes off it.
"""

from services.rater.pricing.bands import Band, difference, total
from services.rater.pricing.charges import (
    Charge,
    GraduatedCharge,
    MeteredCharge,
    RecurringCharge,
    Tier,
    UnitCharge,
)
from services.rater.pricing.price import price_quantity, price_recurring

__all__ = [
    "Band",
    "Charge",
    "GraduatedCharge",
    "MeteredCharge",
    "RecurringCharge",
    "Tier",
    "UnitCharge",
    "difference",
    "price_quantity",
    "price_recurring",
    "total",
]
