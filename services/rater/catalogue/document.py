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
from services.rater.pricing.charges import (
    Charge,
    GraduatedCharge,
    RecurringCharge,
    UnitCharge,
)
from services.rater.pricing.discounts import DiscountTier
from shared.errors import InvalidInputError
from shared.money import EXACT, MINOR_UNITS, plain

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAMING = "a name has lower-case letters, digits, '.', '_' and '-', 63 at most"
_PLACES = 12
_LARGEST = Decimal(10) ** 12


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
                    place, message = _located(f"{kind}.{code}", str(error))
                    tree.complain(place, message)
    return Catalogue(**kinds)


def _located(entry: str, message: str) -> tuple[str, str]:
    """Take the place, within an entry, out of msgspec's message."""
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
        if (meter.aggregate == "sum") != (meter.property is not None):
            yield f"meters.{code}", "a sum names its property, and a count has none"
    for code, plan in catalogue.plans.items():
        yield from _plan_faults(f"plans.{code}", plan, catalogue)
    metered = {
        charge.code
        for plan in catalogue.plans.values()
        for charge in plan.charges
        if not isinstance(charge, RecurringCharge)
    }
    for code, schedule in catalogue.discount_schedules.items():
        place = f"discount_schedules.{code}"
        if schedule.charge not in metered:
            message = f"no plan in this file has a metered charge {schedule.charge!r}"
            yield f"{place}.charge", message
        yield from _schedule_faults(place, schedule)
    for model, prices in catalogue.models.items():
        yield from _model_faults(f"models.{model}", prices)


def _plan_faults(place: str, plan: Plan, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    if plan.version < 1:
        yield f"{place}.version", "versions count from 1"
    if plan.currency not in MINOR_UNITS:
        yield f"{place}.currency", f"{plan.currency} is no known currency"
    codes = [charge.code for charge in plan.charges]
    if len(set(codes)) != len(codes):
        yield f"{place}.charges", "two charges have the same code"
    for index, charge in enumerate(plan.charges):
        below = f"{place}.charges[{index}]"
        if not _NAME.fullmatch(charge.code):
            yield f"{below}.code", _NAMING
        if not isinstance(charge, RecurringCharge) and charge.meter not in catalogue.meters:
            yield f"{below}.meter", f"there is no meter {charge.meter!r} in this file"
        yield from _charge_faults(below, charge)


def _charge_faults(place: str, charge: Charge) -> Iterator[tuple[str, str]]:
    if isinstance(charge, RecurringCharge):
        yield from _price_faults(f"{place}.amount", charge.amount)
    elif isinstance(charge, UnitCharge):
        yield from _price_faults(f"{place}.unit_price", charge.unit_price)
        yield from _component_faults(f"{place}.components", charge)
    elif isinstance(charge, GraduatedCharge):
        yield from _bound_faults(f"{place}.tiers", [tier.up_to for tier in charge.tiers])
        for index, tier in enumerate(charge.tiers):
            yield from _price_faults(f"{place}.tiers[{index}].unit_price", tier.unit_price)
            yield from _price_faults(f"{place}.tiers[{index}].flat_fee", tier.flat_fee)


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
    if schedule.version < 1:
        yield f"{place}.version", "versions count from 1"
    yield from _bound_faults(f"{place}.tiers", [tier.up_to for tier in schedule.tiers])
    for index, tier in enumerate(schedule.tiers):
        below = f"{place}.tiers[{index}].percent_off"
        if faults := list(_price_faults(below, tier.percent_off)):
            yield from faults
        elif tier.percent_off > 100:
            yield below, "lies between 0 and 100"


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


def _price_faults(place: str, price: Decimal) -> Iterator[tuple[str, str]]:
    if not price.is_finite() or price < 0:
        yield place, "must be a decimal of 0 or more"
    elif int(price.as_tuple().exponent) < -_PLACES:
        yield place, f"has more than {_PLACES} decimal places"
    elif price > _LARGEST:
        yield place, "lies above 10^12"
