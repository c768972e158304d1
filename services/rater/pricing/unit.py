"""The shape `unit`: every unit costs the same. Pure."""

from decimal import Decimal

from services.rater.pricing.bands import Band
from shared.money import EXACT


def bands(unit_price: Decimal, quantity: Decimal) -> list[Band]:
    """Price a quantity in one band."""
    if not quantity:
        return []
    return [Band("all", quantity, unit_price, EXACT.multiply(quantity, unit_price))]
