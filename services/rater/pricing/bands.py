"""A priced quantity, split by band; and the difference of two of them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.rater.pricing.charges import Tier
from shared.money import EXACT, plain

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Band:
    """A part of a quantity with one unit price; `amount` is exact, in the major unit.

    A discount, minimum or maximum is a band too: an amount without a quantity.
    """

    label: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


def total(bands: Iterable[Band]) -> Decimal:
    """Add up the bands' exact amounts."""
    amount = ZERO
    for band in bands:
        amount = EXACT.add(amount, band.amount)
    return amount


def difference(new: Sequence[Band], old: Sequence[Band]) -> list[Band]:
    """Give what must be posted so that what stood at `old` stands at `new`.

    Bands that do not differ are left out. A band is the same if its label and unit price are.
    """
    parts: dict[tuple[str, Decimal], tuple[Decimal, Decimal]] = {}
    for sign, bands in ((Decimal(-1), old), (Decimal(1), new)):
        for band in bands:
            quantity, amount = parts.get((band.label, band.unit_price), (ZERO, ZERO))
            parts[band.label, band.unit_price] = (
                EXACT.add(quantity, EXACT.multiply(sign, band.quantity)),
                EXACT.add(amount, EXACT.multiply(sign, band.amount)),
            )
    return [
        Band(label, quantity, unit_price, amount)
        for (label, unit_price), (quantity, amount) in parts.items()
        if quantity or amount
    ]


def tier_bands(tier: Tier, below: Decimal, quantity: Decimal) -> list[Band]:
    """Price units in a tier that begins above `below`; and its flat fee, which is due.

    The first tier's flat fee is due without a unit in it, so the caller decides.
    """
    label = f"over {plain(below)}"
    if tier.up_to is not None:
        label = f"{plain(below)} to {plain(tier.up_to)}"
    bands = []
    if quantity:
        amount = EXACT.multiply(quantity, tier.unit_price)
        bands.append(Band(label, quantity, tier.unit_price, amount))
    if tier.flat_fee:
        bands.append(Band(f"{label} flat fee", Decimal(1), tier.flat_fee, tier.flat_fee))
    return bands
