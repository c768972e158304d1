"""Reads and checks a catalogue file. Pure: text in, values or located complaints out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import Any, Literal

import msgspec

from services.rater.catalogue.tree import Complaint, Tree, read_tree
from services.rater.metering import Meter
from services.rater.pricing import (
    Charge,
    FlatCharge,
    GraduatedCharge,
    MeteredCharge,
    PackageCharge,
    RecurringCharge,
    UnitCharge,
    VolumeCharge,
    is_metered,
)
from services.rater.pricing.discounts import DiscountTier
from services.rater.tokens import INPUT_TOKENS, MODEL, OUTPUT_TOKENS
from shared.errors import InvalidInputError
from shared.money import EXACT, MINOR_UNITS, plain

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAMING = "a name has lower-case letters, digits, '.', '_' and '-', 63 at most"
_PLACES = 12
_LAST_VERSION = 1_000_000
_LARGEST = Decimal(10) ** 12
_PROPERTY = dict.fromkeys(("sum", "max", "unique_count"), "names its property")
_PROPERTY["count"] = "has no property"


class InvalidCatalogueError(InvalidInputError):
    """A catalogue file that cannot be used; nothing of it is applied."""

    code = "invalid_catalogue"

    def __init__(self, name: str, complaints: list[Complaint]) -> None:
        self.complaints = complaints
        super().__init__("; ".join(f"{name}, {complaint}" for complaint in complaints))


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a plan."""

    version: int
    name: str
    currency: str
    charges: list[Charge]
    tokens: Literal["included", "paid_by_customer"] = "included"


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a discount schedule."""

    version: int
    charge: str
    tiers: list[DiscountTier]
    description: str = ""
    mode: Literal["graduated", "volume"] = "graduated"


class ModelPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    """What a model's tokens cost from a moment on."""

    start: str
    currency: str
    input_per_million: Decimal
    output_per_million: Decimal

    @property
    def effective_from(self) -> datetime:
        """The moment from which the price holds, in UTC."""
        moment = datetime.fromisoformat(self.start)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a catalogue file holds."""

    meters: dict[str, Meter] = {}
    plans: dict[str, Plan] = {}
    discount_schedules: dict[str, Schedule] = {}
    models: dict[str, list[ModelPrice]] = {}


_KINDS: dict[str, Any] = {
    "meters": Meter,
    "plans": Plan,
    "discount_schedules": Schedule,
    "models": list[ModelPrice],
}


def read_catalogue(text: str, *, name: str) -> Catalogue:
    """Read a catalogue; raise `InvalidCatalogueError` with every complaint and its line."""
    tree = read_tree(text)
    if not tree.complaints:
        catalogue = _converted(tree)
    if not tree.complaints:
        for place, message in _faults(catalogue):
            tree.complain(place, message)
    if tree.complaints:
        raise InvalidCatalogueError(name, tree.complaints)
    return catalogue


def _converted(tree: Tree) -> Catalogue:
    """Convert entry by entry, so that each one's fault is found, and its line."""
    if not isinstance(tree.values, dict):
        tree.complain("", f"must hold one or more of: {', '.join(_KINDS)}")
        return Catalogue()
    kinds: dict[str, dict[str, Any]] = {}
    for kind, entries in tree.values.items():
        if kind not in _KINDS:
            tree.complain(kind, f"is not known; a catalogue has {', '.join(_KINDS)}")
        elif not isinstance(entries, dict):
            tree.complain(kind, "must hold names, each with what it stands for")
        else:
            kinds[kind] = {}
            for code, entry in entries.items():
                try:
                    kinds[kind][code] = msgspec.convert(entry, _KINDS[kind], strict=False)
                except msgspec.ValidationError as error:
                    place, message = located(f"{kind}.{code}", str(error))
                    tree.complain(place, message)
    return Catalogue(**kinds)


def located(entry: str, message: str) -> tuple[str, str]:
    """Take the place, below an entry's, out of msgspec's message; give it and the rest."""
    found = re.search(r" - at `(?:key in )?\$([^`]*)`$", message)
    if found is None:
        return entry, message
    return entry + found[1].split("[...]")[0], message[: found.start()]


def _faults(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Give what no type can say: names, bounds, references, signs."""
    for kind in ("meters", "plans", "discount_schedules", "models"):
        for code in getattr(catalogue, kind):
            if not _NAME.fullmatch(code):
                yield f"{kind}.{code}", _NAMING
    for code, meter in catalogue.meters.items():
        yield from _meter_faults(code, meter, catalogue)
    for code, plan in catalogue.plans.items():
        yield from _plan_faults(f"plans.{code}", plan, catalogue)
    metered = {
        charge.code
        for plan in catalogue.plans.values()
        for charge in plan.charges
        if is_metered(charge)
    }
    for code, schedule in catalogue.discount_schedules.items():
        place = f"discount_schedules.{code}"
        if schedule.charge not in metered:
            message = f"no plan in this file has a metered charge {schedule.charge!r}"
            yield f"{place}.charge", message
        yield from _schedule_faults(place, schedule)
    for model, prices in catalogue.models.items():
        yield from _model_faults(f"models.{model}", prices)


def _meter_faults(code: str, meter: Meter, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    if (meter.aggregate == "count") == (meter.property is not None):
        yield f"meters.{code}", f"a {meter.aggregate} {_PROPERTY[meter.aggregate]}"
    if "" in meter.dimensions or len(set(meter.dimensions)) < len(meter.dimensions):
        yield f"meters.{code}.dimensions", "are names of properties, each once"
    by_price = code in (INPUT_TOKENS, OUTPUT_TOKENS) and catalogue.models
    if by_price and MODEL not in meter.dimensions:
        yield f"meters.{code}.dimensions", f"needs {MODEL!r}, as models have token prices"


def _plan_faults(place: str, plan: Plan, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    if not 1 <= plan.version <= _LAST_VERSION:
        yield f"{place}.version", f"versions count from 1, to {_LAST_VERSION} at most"
    if plan.currency not in MINOR_UNITS:
        yield f"{place}.currency", f"{plan.currency} is no known currency"
    codes = [charge.code for charge in plan.charges]
    if len(set(codes)) != len(codes):
        yield f"{place}.charges", "two charges have the same code"
    for index, charge in enumerate(plan.charges):
        below = f"{place}.charges[{index}]"
        if not _NAME.fullmatch(charge.code):
            yield f"{below}.code", _NAMING
        if is_metered(charge) and charge.meter not in catalogue.meters:
            yield f"{below}.meter", f"there is no meter {charge.meter!r} in this file"
        yield from charge_faults(below, charge)


def charge_faults(place: str, charge: Charge) -> Iterator[tuple[str, str]]:
    """Give what is wrong with a charge's numbers: each a place below `place`, and a message."""
    if charge.discount_percent is not None:
        yield from _percent_faults(f"{place}.discount_percent", charge.discount_percent)
    if isinstance(charge, FlatCharge | RecurringCharge):
        yield from _price_faults(f"{place}.amount", charge.amount)
        return
    yield from _price_faults(f"{place}.free_units", charge.free_units)
    yield from _spend_faults(place, charge)
    if isinstance(charge, UnitCharge):
        yield from _price_faults(f"{place}.unit_price", charge.unit_price)
        yield from _component_faults(f"{place}.components", charge)
    elif isinstance(charge, PackageCharge):
        yield from _price_faults(f"{place}.package_price", charge.package_price)
        if faults := list(_price_faults(f"{place}.package_size", charge.package_size)):
            yield from faults
        elif not charge.package_size:
            yield f"{place}.package_size", "must lie above 0"
    else:
        yield from _tier_faults(f"{place}.tiers", charge)


def _spend_faults(place: str, charge: MeteredCharge) -> Iterator[tuple[str, str]]:
    bounds = {"minimum_spend": charge.minimum_spend, "maximum_spend": charge.maximum_spend}
    faults = [
        fault
        for name, bound in bounds.items()
        if bound is not None
        for fault in _price_faults(f"{place}.{name}", bound)
    ]
    yield from faults
    least, most = bounds.values()
    if not faults and least is not None and most is not None and least > most:
        yield f"{place}.minimum_spend", "lies above maximum_spend"


def _tier_faults(place: str, charge: GraduatedCharge | VolumeCharge) -> Iterator[tuple[str, str]]:
    yield from _bound_faults(place, [tier.up_to for tier in charge.tiers])
    for index, tier in enumerate(charge.tiers):
        yield from _price_faults(f"{place}[{index}].unit_price", tier.unit_price)
        yield from _price_faults(f"{place}[{index}].flat_fee", tier.flat_fee)
    if isinstance(charge, GraduatedCharge) and charge.components:
        yield place.removesuffix("tiers") + "components", "a price by tiers has no components"


def _component_faults(place: str, charge: UnitCharge) -> Iterator[tuple[str, str]]:
    faults = [
        fault
        for name, part in charge.components.items()
        for fault in _price_faults(f"{place}.{name}", part)
    ]
    yield from faults
    if charge.components and not faults:
        parts = reduce(EXACT.add, charge.components.values())
        if charge.unit_price.is_finite() and parts != charge.unit_price:
            yield place, f"add up to {plain(parts)}, not to the price {charge.unit_price}"


def _schedule_faults(place: str, schedule: Schedule) -> Iterator[tuple[str, str]]:
    if not 1 <= schedule.version <= _LAST_VERSION:
        yield f"{place}.version", f"versions count from 1, to {_LAST_VERSION} at most"
    yield from _bound_faults(f"{place}.tiers", [tier.up_to for tier in schedule.tiers])
    for index, tier in enumerate(schedule.tiers):
        yield from _percent_faults(f"{place}.tiers[{index}].percent_off", tier.percent_off)


def _bound_faults(place: str, bounds: list[Decimal | None]) -> Iterator[tuple[str, str]]:
    if not bounds or bounds[-1] is not None:
        yield place, "the last tier has no end: write up_to: null"
    below = Decimal(0)
    for index, bound in enumerate(bounds):
        if bound is None:
            if index < len(bounds) - 1:
                yield f"{place}[{index}].up_to", "only the last tier is without end"
        elif faults := list(_price_faults(f"{place}[{index}].up_to", bound)):
            yield from faults
        elif bound <= below:
            yield f"{place}[{index}].up_to", f"must lie above {plain(below)}, where it begins"
        else:
            below = bound


def _model_faults(place: str, prices: list[ModelPrice]) -> Iterator[tuple[str, str]]:
    moments: set[datetime] = set()
    for index, price in enumerate(prices):
        below = f"{place}[{index}]"
        try:
            moment = price.effective_from
        except (ValueError, OverflowError):
            yield f"{below}.from", "write a date or time such as 2025-05-22"
        else:
            if moment in moments:
                yield f"{below}.from", "another price holds from that moment already"
            moments.add(moment)
        if price.currency not in MINOR_UNITS:
            yield f"{below}.currency", f"{price.currency} is no known currency"
        yield from _price_faults(f"{below}.input_per_million", price.input_per_million)
        yield from _price_faults(f"{below}.output_per_million", price.output_per_million)


def _percent_faults(place: str, percent: Decimal) -> Iterator[tuple[str, str]]:
    if faults := list(_price_faults(place, percent)):
        yield from faults
    elif percent > 100:
        yield place, "lies between 0 and 100"


def _price_faults(place: str, price: Decimal) -> Iterator[tuple[str, str]]:
    if not price.is_finite() or price < 0:
        yield place, "must be a decimal of 0 or more"
    elif int(price.as_tuple().exponent) < -_PLACES:
        yield place, f"has more than {_PLACES} decimal places"
    elif price > _LARGEST:
        yield place, "lies above 10^12"
