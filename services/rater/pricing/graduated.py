"""The shape `graduated`: each unit costs what its own tier says. Pure.

Tier bounds are inclusive upper bounds: the 50,000th unit is in the tier up to 50,000, and
any part of a unit beyond it is in the next (as with Stripe, Lago and OpenMeter).
"""

from collections.abc import Sequence
from decimal import Decimal

from services.rater.pricing.bands import ZERO, Band, tier_bands
from services.rater.pricing.charges import Tier
from shared.money import EXACT


def bands(tiers: Sequence[Tier], quantity: Decimal) -> list[Band]:
    """Price a quantity, a band a tier reached, and one for each flat fee due."""
    result: list[Band] = []
    below = ZERO
    for tier in tiers:
        if below and quantity <= below:
            break
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        result += tier_bands(tier, below, EXACT.subtract(top, below))
        if tier.up_to is None:
            break
        below = tier.up_to
    return result
