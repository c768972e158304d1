"""What a plan says of a charge. Pure values, read from the catalogue's JSON.

A field that is not known is refused, never ignored: it could be a fee with a typing error.
"""

from decimal import Decimal

import msgspec

ZERO = Decimal(0)


class Tier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units up to and including `up_to` (None: without end) cost `unit_price` each.

    `flat_fee` is due once any part of a unit falls in the tier; the first tier's always.
    """

    up_to: Decimal | None
    unit_price: Decimal
    flat_fee: Decimal = ZERO


class UnitCharge(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unit", tag_field="model"
):
    """Every unit costs the same; `components` says what the price is made of."""

    code: str
    meter: str
    unit_price: Decimal
    components: dict[str, Decimal] = {}


class GraduatedCharge(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="graduated", tag_field="model"
):
    """Each unit costs what the tier says in which it falls."""

    code: str
    meter: str
    tiers: list[Tier]


class RecurringCharge(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="recurring", tag_field="model"
):
    """A fee for each month, prorated by the days that a contract covers."""

    code: str
    amount: Decimal


MeteredCharge = UnitCharge | GraduatedCharge
Charge = UnitCharge | GraduatedCharge | RecurringCharge
