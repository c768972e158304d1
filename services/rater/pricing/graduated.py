"""The shape `graduated`: each unit costs what its own tier says. Pure.

Tier bounds are inclusive upper bounds: the 50,000th unit is in the tier up to 50,000, and
any part of a unit beyond it is in the next (as with Stripe, Lago and OpenMeter).
"""

from collections.abc import Sequence
from decimal import Decimal

from services.rater.pricing.bands import ZERO, Band
from services.rater.pricing.charges import Tier
from shared.money import EXACT, plain


def bands(tiers: Sequence[Tier], quantity: Decimal) -> list[Band]:
    """Price a quantity, a band a tier reached, and one for each flat fee due."""
    result: list[Band] = []
    below = ZERO
    for position, tier in enumerate(tiers):
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        inside = EXACT.subtract(top, below)
        label = _label(below, tier.up_to)
        if inside > 0:
            amount = EXACT.multiply(inside, tier.unit_price)
            result.append(Band(label, inside, tier.unit_price, amount))
        if tier.flat_fee and (inside > 0 or position == 0):
            result.append(Band(f"{label} flat fee", Decimal(1), tier.flat_fee, tier.flat_fee))
        if tier.up_to is None or quantity <= tier.up_to:
            break
        below = tier.up_to
    return result


def _label(below: Decimal, up_to: Decimal | None) -> str:
    if up_to is None:
        return f"over {plain(below)}"
    return f"{plain(below)} to {plain(up_to)}"
