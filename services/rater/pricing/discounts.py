"""Volume discounts: a contract's schedule laid over a metered charge. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from services.rater.pricing.charges import (
    Charge,
    GraduatedCharge,
    Tier,
    UnitCharge,
    VolumeCharge,
    is_metered,
)
from shared.money import EXACT

_HUNDRED = Decimal(100)


class DiscountTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units up to and including `up_to` (None: without end) are `percent_off` cheaper."""

    up_to: Decimal | None
    percent_off: Decimal


class DiscountSchedule(msgspec.Struct, frozen=True):
    """A named discount on one charge.

    `graduated`: each unit by its own tier; `volume`: all units by the tier that the month's
    whole quantity reaches. Flat fees are not discounted.
    """

    charge: str
    tiers: list[DiscountTier]
    description: str = ""
    mode: Literal["graduated", "volume"] = "graduated"


def misfit(charges: Sequence[Charge], schedule: DiscountSchedule) -> str | None:
    """Say why a schedule cannot be laid over a plan's charges; None: it can.

    Tiers of one mode laid over tiers of the other would have no single price for a unit.
    """
    for charge in charges:
        if charge.code != schedule.charge or not is_metered(charge):
            continue
        if isinstance(charge, UnitCharge) or _mode(charge) == schedule.mode:
            return None
        model = type(charge).__struct_config__.tag
        return f"it is {schedule.mode}, and charge {charge.code} is of model {model}"
    return f"there is no metered charge {schedule.charge}"


def discounted(charge: Charge, schedule: DiscountSchedule | None) -> Charge:
    """Give the charge as it is under a schedule that fits; other charges stay as they are."""
    if schedule is None or charge.code != schedule.charge:
        return charge
    if isinstance(charge, UnitCharge):
        tiers = _overlaid([Tier(None, charge.unit_price)], schedule)
        shape = GraduatedCharge if schedule.mode == "graduated" else VolumeCharge
        return shape(**_shared(charge, shape), tiers=tiers)
    if isinstance(charge, GraduatedCharge | VolumeCharge) and _mode(charge) == schedule.mode:
        return msgspec.structs.replace(charge, tiers=_overlaid(charge.tiers, schedule))
    return charge


def _mode(charge: Charge) -> str | None:
    if isinstance(charge, GraduatedCharge):
        return "graduated"
    return "volume" if isinstance(charge, VolumeCharge) else None


def _shared(charge: UnitCharge, shape: type[GraduatedCharge | VolumeCharge]) -> dict[str, Any]:
    return {
        name: getattr(charge, name) for name in shape.__struct_fields__ if hasattr(charge, name)
    }


def _overlaid(prices: list[Tier], schedule: DiscountSchedule) -> list[Tier]:
    """Cut the tiers at both lists' bounds, so that each has one price and one discount.

    A tier that is cut keeps its flat fee: once, graduated; in each part, of which the quantity
    reaches only one, volume.
    """
    price_bounds = {tier.up_to for tier in prices if tier.up_to is not None}
    discount_bounds = {tier.up_to for tier in schedule.tiers if tier.up_to is not None}
    tiers: list[Tier] = []
    last: Tier | None = None
    for bound in (*sorted(price_bounds | discount_bounds), None):
        price = next(tier for tier in prices if _reaches(tier.up_to, bound))
        discount = next(tier for tier in schedule.tiers if _reaches(tier.up_to, bound))
        fee_due = price is not last or schedule.mode == "volume"
        share = EXACT.divide(EXACT.subtract(_HUNDRED, discount.percent_off), _HUNDRED)
        flat_fee = price.flat_fee if fee_due else Decimal(0)
        tiers.append(Tier(bound, EXACT.multiply(price.unit_price, share), flat_fee))
        last = price
    return tiers


def _reaches(up_to: Decimal | None, bound: Decimal | None) -> bool:
    return up_to is None or (bound is not None and bound <= up_to)
