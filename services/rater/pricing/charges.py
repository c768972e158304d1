"""What a plan says of a charge. Pure values, read from the catalogue's JSON.

A field that is not known is refused, never ignored: it could be a fee with a typing error.
Amounts and prices are in the major unit of the plan's currency.
"""

from decimal import Decimal
from typing import TypeGuard

import msgspec

ZERO = Decimal(0)


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units up to and including `up_to` (None: without end) cost `unit_price` each.

    `flat_fee` is due once: graduated, as soon as any part of a unit falls in the tier; volume,
    for the tier that the whole quantity reaches. The first tier counts as reached without usage.
    """

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = ZERO


class _Charge(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="model", kw_only=True
):
    """What every charge has; `discount_percent` comes off all that it costs."""

    code: str
    discount_percent: Decimal | None = None


class _Metered(_Charge, frozen=True, kw_only=True):
    """What a price on a meter's quantity may have besides.

    Free units come off the quantity first. Then what the rest costs is discounted, brought up
    to the minimum, which prorates by days, and down to the maximum, which does not.
    """

    meter: str
    free_units: Decimal = ZERO
    minimum_spend: Decimal | None = None
    maximum_spend: Decimal | None = None


class UnitCharge(_Metered, frozen=True, tag="unit", kw_only=True):
    """Every unit costs the same; `components` says what the price is made of."""

    unit_price: Decimal
    components: dict[str, Decimal] = {}


class GraduatedCharge(_Metered, frozen=True, tag="graduated", kw_only=True):
    """Each unit costs what the tier says in which it falls."""

    tiers: list[Tier]
    components: dict[str, Decimal] = {}


class VolumeCharge(_Metered, frozen=True, tag="volume", kw_only=True):
    """All units cost what the tier says that the whole quantity reaches."""

    tiers: list[Tier]


class PackageCharge(_Metered, frozen=True, tag="package", kw_only=True):
    """Units are sold in packages; one that was begun is due in full."""

    package_size: Decimal
    package_price: Decimal


class FlatCharge(_Charge, frozen=True, tag="flat", kw_only=True):
    """A fee for each month of which a contract covers a day, whatever was used; never prorated."""

    amount: Decimal


class RecurringCharge(_Charge, frozen=True, tag="recurring", kw_only=True):
    """A fee for each month, prorated by the days that a contract covers."""

    amount: Decimal


MeteredCharge = UnitCharge | GraduatedCharge | VolumeCharge | PackageCharge
Charge = MeteredCharge | FlatCharge | RecurringCharge


def is_metered(charge: Charge) -> TypeGuard[MeteredCharge]:
    """Tell whether a charge is a price on a meter."""
    return isinstance(charge, _Metered)
