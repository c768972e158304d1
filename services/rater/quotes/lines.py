"""Priced bands as lines: each rounded once, and split by component where its charge is. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NotRequired

from typing_extensions import TypedDict

from services.rater.pricing import Band, Charge, Coverage, is_metered, price
from shared.money import allocate, from_minor, plain, round_to_minor, with_minor_unit

ZERO = Decimal(0)


class LineDocument(TypedDict):
    """A priced band; `exact_amount` was rounded to `amount`, once.

    `components` says what the amount is made of, and adds up to it.
    """

    charge: str
    band: str
    quantity: str
    unit_price: str
    exact_amount: str
    amount: str
    components: NotRequired[dict[str, str]]


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A band of a charge, and its amount in whole minor units."""

    charge: Charge
    band: Band
    minor: int


def priced_lines(
    charges: Iterable[tuple[Charge, Coverage]], usage: Mapping[str, Decimal], currency: str
) -> list[PricedLine]:
    """Price a month's quantities, by meter; a meter that is not named has none."""
    return [
        PricedLine(charge, band, round_to_minor(band.amount, currency))
        for charge, coverage in charges
        for band in price(charge, _quantity(charge, usage), coverage)
    ]


def _quantity(charge: Charge, usage: Mapping[str, Decimal]) -> Decimal:
    return usage.get(charge.meter, ZERO) if is_metered(charge) else ZERO


def components_of(charge: Charge) -> Mapping[str, Decimal]:
    """Give what a charge's price is made of, by name; empty where that is not said."""
    return getattr(charge, "components", None) or {}


def line_document(
    charge: str, band: Band, minor: int, currency: str, components: Mapping[str, Decimal]
) -> LineDocument:
    """Describe a line; an amount without a quantity is shown as one of it."""
    quantity, unit_price = band.quantity, band.unit_price
    if not quantity and band.amount:
        quantity, unit_price = Decimal(1), band.amount
    document: LineDocument = {
        "charge": charge,
        "band": band.label,
        "quantity": plain(quantity),
        "unit_price": plain(unit_price),
        "exact_amount": plain(band.amount),
        "amount": money(minor, currency),
    }
    if components:
        shares = allocate(minor, list(components.values()))
        document["components"] = dict(zip(components, _moneys(shares, currency), strict=True))
    return document


def _moneys(shares: Sequence[int], currency: str) -> list[str]:
    return [money(share, currency) for share in shares]


def money(minor: int, currency: str) -> str:
    """Write whole minor units in the major unit, with all places: ``119.00``."""
    return with_minor_unit(from_minor(minor, currency), currency)
