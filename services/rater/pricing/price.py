"""The price function f: from a charge, a month's quantity and its covered days to bands. Pure."""

from decimal import Decimal
from typing import assert_never

from services.rater.pricing import graduated, package, recurring, unit, volume
from services.rater.pricing.bands import ZERO, Band
from services.rater.pricing.charges import (
    Charge,
    FlatCharge,
    GraduatedCharge,
    MeteredCharge,
    PackageCharge,
    RecurringCharge,
    UnitCharge,
    VolumeCharge,
)
from services.rater.pricing.coverage import Coverage
from services.rater.pricing.spend import with_discount, with_maximum, with_minimum
from shared.money import EXACT


def price(charge: Charge, quantity: Decimal, coverage: Coverage) -> list[Band]:
    """Give what a charge costs for a month of which a contract covers some days.

    `quantity` is the whole month's, in the meter's unit, 0 or more; a fee does not look at it.
    Amounts are exact, but for what is prorated by days (12 decimal places, half up). Raises
    `decimal.Inexact` rather than lose a digit.
    """
    if isinstance(charge, FlatCharge):
        bands = recurring.flat_bands(charge.amount, coverage)
        return with_discount(bands, charge.discount_percent)
    if isinstance(charge, RecurringCharge):
        bands = recurring.bands(charge.amount, coverage)
        return with_discount(bands, charge.discount_percent)
    return _price_metered(charge, quantity, coverage)


def _price_metered(charge: MeteredCharge, quantity: Decimal, coverage: Coverage) -> list[Band]:
    free = min(quantity, charge.free_units)
    bands = _price_units(charge, EXACT.subtract(quantity, free))
    if free:
        bands = [Band("free", free, ZERO, ZERO), *bands]
    bands = with_discount(bands, charge.discount_percent)
    if charge.minimum_spend is not None:
        bands = with_minimum(bands, coverage.prorate(charge.minimum_spend))
    return with_maximum(bands, charge.maximum_spend)


def _price_units(charge: MeteredCharge, quantity: Decimal) -> list[Band]:
    match charge:
        case UnitCharge():
            return unit.bands(charge.unit_price, quantity)
        case GraduatedCharge():
            return graduated.bands(charge.tiers, quantity)
        case VolumeCharge():
            return volume.bands(charge.tiers, quantity)
        case PackageCharge():
            return package.bands(charge.package_size, charge.package_price, quantity)
        case _:
            assert_never(charge)
