"""Reads and checks a catalogue file. Pure: text in, values or located complaints out.

Numbers are taken as they are written, digit for digit: ``0.002`` never passes through a
binary float.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec
import yaml

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
_PLACES = 12


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong with a catalogue file, and on which line (counted from 1)."""

    line: int
    place: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.place}: {self.message}"


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


def read_catalogue(text: str, *, name: str) -> Catalogue:
    """Read a catalogue; raise `InvalidCatalogueError` with every complaint and its line."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = error.problem or "not YAML"
        raise InvalidCatalogueError(name, [Complaint(line, "file", problem)]) from None
    if node is None:
        raise InvalidCatalogueError(name, [Complaint(1, "file", "is empty")])
    lines: dict[str, int] = {}
    complaints: list[Complaint] = []
    tree = _plain_tree(node, "", lines, complaints)
    if complaints:
        raise InvalidCatalogueError(name, complaints)
    try:
        catalogue = msgspec.convert(tree, Catalogue, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidCatalogueError(name, [_located(str(error), lines)]) from None
    complaints = [
        Complaint(_line_of(place, lines), place, message) for place, message in _faults(catalogue)
    ]
    if complaints:
        raise InvalidCatalogueError(name, complaints)
    return catalogue


def _plain_tree(
    node: yaml.Node, place: str, lines: dict[str, int], complaints: list[Complaint]
) -> Any:
    """Turn nodes into dicts, lists and the scalars' own text, noting each one's line."""
    line = node.start_mark.line + 1
    lines[place] = line
    if isinstance(node, yaml.MappingNode):
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            below = f"{place}.{key}" if place else key
            if key in tree:
                message = "is written twice"
                complaints.append(Complaint(key_node.start_mark.line + 1, below, message))
            tree[key] = _plain_tree(value_node, below, lines, complaints)
        return tree
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain_tree(item, f"{place}[{index}]", lines, complaints)
            for index, item in enumerate(node.value)
        ]
    return None if node.tag == "tag:yaml.org,2002:null" else _scalar(node, place, complaints)


def _scalar(node: yaml.Node, place: str, complaints: list[Complaint]) -> str:
    text = str(node.value)
    if node.tag in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int"):
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or "e" in text.lower():
            message = f"write {text} as a plain decimal, such as 0.002"
            complaints.append(Complaint(node.start_mark.line + 1, place, message))
    return text


def _located(message: str, lines: dict[str, int]) -> Complaint:
    """Find the line that msgspec's message speaks of."""
    found = re.search(r" - at `(?:key in )?\$\.?([^`]*)`$", message)
    if found is None:
        return Complaint(1, "file", message)
    place = found[1]
    if "[...]" in place:
        place = place.split("[...]")[0]
    return Complaint(_line_of(place, lines), place or "file", message[: found.start()])


def _line_of(place: str, lines: dict[str, int]) -> int:
    while place and place not in lines:
        place = place.rpartition(".")[0]
    return lines.get(place, 1)


def _faults(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Give what no type can say: names, bounds, references, signs."""
    for kind in ("meters", "plans", "discount_schedules", "models"):
        for code in getattr(catalogue, kind):
            if not _NAME.fullmatch(code):
                yield f"{kind}.{code}", "a name has lower-case letters, digits, '.', '_' and '-'"
    for code, meter in catalogue.meters.items():
        if (meter.aggregate == "sum") != (meter.property is not None):
            yield f"meters.{code}", "a sum names its property, and a count has none"
    for code, plan in catalogue.plans.items():
        yield from _plan_faults(f"plans.{code}", plan, catalogue)
    for code, schedule in catalogue.discount_schedules.items():
        yield from _schedule_faults(f"discount_schedules.{code}", schedule)
    for model, prices in catalogue.models.items():
        for index, price in enumerate(prices):
            yield from _model_faults(f"models.{model}[{index}]", price)


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
        if not isinstance(charge, RecurringCharge) and charge.meter not in catalogue.meters:
            yield f"{below}.meter", f"there is no meter {charge.meter!r} in this file"
        yield from _charge_faults(below, charge)


def _charge_faults(place: str, charge: Charge) -> Iterator[tuple[str, str]]:
    if isinstance(charge, RecurringCharge):
        yield from _price_faults(f"{place}.amount", charge.amount)
    elif isinstance(charge, UnitCharge):
        yield from _price_faults(f"{place}.unit_price", charge.unit_price)
        parts = Decimal(0)
        for name, part in charge.components.items():
            yield from _price_faults(f"{place}.components.{name}", part)
            parts = EXACT.add(parts, part)
        if charge.components and parts != charge.unit_price:
            message = f"add up to {plain(parts)}, not to the price {plain(charge.unit_price)}"
            yield f"{place}.components", message
    elif isinstance(charge, GraduatedCharge):
        yield from _bound_faults(f"{place}.tiers", [tier.up_to for tier in charge.tiers])
        for index, tier in enumerate(charge.tiers):
            yield from _price_faults(f"{place}.tiers[{index}].unit_price", tier.unit_price)
            yield from _price_faults(f"{place}.tiers[{index}].flat_fee", tier.flat_fee)


def _schedule_faults(place: str, schedule: Schedule) -> Iterator[tuple[str, str]]:
    if schedule.version < 1:
        yield f"{place}.version", "versions count from 1"
    yield from _bound_faults(f"{place}.tiers", [tier.up_to for tier in schedule.tiers])
    for index, tier in enumerate(schedule.tiers):
        if not 0 <= tier.percent_off <= 100:
            yield f"{place}.tiers[{index}].percent_off", "lies between 0 and 100"


def _bound_faults(place: str, bounds: list[Decimal | None]) -> Iterator[tuple[str, str]]:
    if not bounds or bounds[-1] is not None:
        yield place, "the last tier has no end: write up_to: null"
    below = Decimal(0)
    for index, bound in enumerate(bounds):
        if bound is None:
            if index < len(bounds) - 1:
                yield f"{place}[{index}].up_to", "only the last tier is without end"
        elif bound <= below:
            yield f"{place}[{index}].up_to", f"must lie above {plain(below)}, where it begins"
        else:
            below = bound


def _model_faults(place: str, price: ModelPrice) -> Iterator[tuple[str, str]]:
    try:
        _ = price.effective_from
    except ValueError:
        yield f"{place}.from", "write a date or time such as 2025-05-22"
    yield from _price_faults(f"{place}.input_per_million", price.input_per_million)
    yield from _price_faults(f"{place}.output_per_million", price.output_per_million)


def _price_faults(place: str, price: Decimal) -> Iterator[tuple[str, str]]:
    if not price.is_finite() or price < 0:
        yield place, "must be a decimal of 0 or more"
    elif int(price.as_tuple().exponent) < -_PLACES:
        yield place, f"has more than {_PLACES} decimal places"
