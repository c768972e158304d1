"""The shape `package`: units are sold in packages, and one that was begun is due in full. Pure."""

from decimal import Decimal

from services.rater.pricing.bands import Band
from shared.money import EXACT, plain


def bands(size: Decimal, price: Decimal, quantity: Decimal) -> list[Band]:
    """Price a quantity in one band, whose quantity counts packages."""
    packages = EXACT.divide_int(quantity, size)
    if EXACT.remainder(quantity, size):
        packages = EXACT.add(packages, Decimal(1))
    if not packages:
        return []
    label = f"packages of {plain(size)}"
    return [Band(label, packages, price, EXACT.multiply(packages, price))]
