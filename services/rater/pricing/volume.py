"""The shape `volume`: all units cost what the tier says that the whole quantity reaches. Pure.

Tier bounds are inclusive upper bounds: a quantity of exactly 50,000 is in the tier up to
50,000, and any part of a unit beyond it puts the whole quantity in the next.
"""

from collections.abc import Sequence
from decimal import Decimal

from services.rater.pricing.bands import ZERO, Band, tier_bands
from services.rater.pricing.charges import Tier


def bands(tiers: Sequence[Tier], quantity: Decimal) -> list[Band]:
    """Price a quantity in the band of its tier, and one for that tier's flat fee."""
    below = ZERO
    for tier in tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return tier_bands(tier, below, quantity)
        below = tier.up_to
    raise AssertionError("the last tier has no end")
