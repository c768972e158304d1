"""Prices: what a quantity of usage costs, as pure functions on exact decimals.

One small module a shape (`unit`, `graduated`, `volume`, `package`, `recurring`), each from a
quantity to bands, and `spend` for what the whole amount is brought to; `price` is the one
function over them all. `charges` holds what a plan says of a charge, `discounts` what a
contract's schedule takes off it.
"""

from services.rater.pricing.bands import Band, difference, total
from services.rater.pricing.charges import (
    Charge,
    FlatCharge,
    GraduatedCharge,
    MeteredCharge,
    PackageCharge,
    RecurringCharge,
    Tier,
    UnitCharge,
    VolumeCharge,
    is_metered,
)
from services.rater.pricing.coverage import Coverage
from services.rater.pricing.price import price

__all__ = [
    "Band",
    "Charge",
    "Coverage",
    "FlatCharge",
    "GraduatedCharge",
    "MeteredCharge",
    "PackageCharge",
    "RecurringCharge",
    "Tier",
    "UnitCharge",
    "VolumeCharge",
    "difference",
    "is_metered",
    "price",
    "total",
]
