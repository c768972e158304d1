"""Meters: how events become quantities. Pure.

Events of a batch are gathered by what the meters look at before anything is added up: a
batch has many events and few combinations of contract, month, status, model and key.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec

from shared.events import InvalidEventError
from shared.money import EXACT

ZERO = Decimal(0)


class Meter(msgspec.Struct, frozen=True):
    """Which events of a type count, and what of them is added up.

    `filter` names properties of the data and the values they must have. `count` adds one an
    event, `sum` the value of `property`. `dimensions` are properties by which the quantity
    is split for reading; they never change a price.
    """

    event_type: str
    aggregate: Literal["count", "sum"]
    filter: dict[str, str] = {}
    property: str | None = None
    dimensions: list[str] = []


class UsageKey(NamedTuple):
    """What a quantity is kept for; with an empty dimension it is the whole."""

    contract_id: str
    usage_period: str
    meter: str
    dimension: str
    value: str


class EventTypeMeters:
    """The meters of one event type, ready to be asked of many events."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self._meters = dict(meters)
        names = {name for meter in meters.values() for name in (*meter.filter, *meter.dimensions)}
        self._group_names = tuple(sorted(names))
        self._sum_names = tuple(sorted({m.property for m in meters.values() if m.property}))

    def read(self, data: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[int | Decimal, ...]]:
        """Give what an event is grouped by, and the values that its meters add up.

        Raises `InvalidEventError` where a value that would be added up is no number.
        """
        group = tuple([data.get(name) for name in self._group_names])
        values = tuple([data.get(name, 0) for name in self._sum_names])
        for name, value in zip(self._sum_names, values, strict=True):
            if type(value) is not int and type(value) is not Decimal:
                raise InvalidEventError("invalid_data", "must be a number", f"/data/{name}")
        for name, value in zip(self._group_names, group, strict=True):
            if type(value) is dict or type(value) is list:
                raise InvalidEventError("invalid_data", "must be a plain value", f"/data/{name}")
        return group, values

    def quantities(
        self, group: tuple[Any, ...], count: int, sums: Iterable[Decimal]
    ) -> Iterable[tuple[str, str, str, Decimal]]:
        """Give (meter, dimension, value, quantity) for all events of one group together."""
        properties = dict(zip(self._group_names, group, strict=True))
        sum_of = dict(zip(self._sum_names, sums, strict=True))
        for code, meter in self._meters.items():
            if any(_text(properties[name]) != value for name, value in meter.filter.items()):
                continue
            counts = meter.aggregate == "count" or meter.property is None
            quantity = Decimal(count) if counts else sum_of[meter.property or ""]
            yield code, "", "", quantity
            for name in meter.dimensions:
                if properties[name] is not None:
                    yield code, name, _text(properties[name]), quantity


class UsageTally:
    """Adds up the events of a batch to the quantities that they change."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], list[Any]] = {}

    def add(
        self,
        contract_id: str,
        usage_period: str,
        meters: EventTypeMeters,
        group: tuple[Any, ...],
        values: tuple[int | Decimal, ...],
    ) -> None:
        """Count one event in."""
        key = (contract_id, usage_period, meters, group)
        gathered = self._groups.get(key)
        if gathered is None:
            self._groups[key] = [1, *values]
            return
        gathered[0] += 1
        for position, value in enumerate(values, 1):
            if type(value) is int:
                gathered[position] += value
            else:
                gathered[position] = EXACT.add(gathered[position], value)

    def quantities(self) -> dict[UsageKey, Decimal]:
        """Give the quantity to add for each key."""
        result: dict[UsageKey, Decimal] = {}
        for (contract_id, period, meters, group), (count, *sums) in self._groups.items():
            for meter, dimension, value, quantity in meters.quantities(
                group, count, [Decimal(value) for value in sums]
            ):
                key = UsageKey(contract_id, period, meter, dimension, value)
                result[key] = EXACT.add(result.get(key, ZERO), quantity)
        return result


def _text(value: object) -> str:
    """Write a plain JSON value the way Postgres' ``->>`` does, so that both compare equal."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    return str(value)


def by_event_type(meters: Mapping[str, Meter]) -> dict[str, EventTypeMeters]:
    """Sort meters by the event type that they look at."""
    types: dict[str, dict[str, Meter]] = {}
    for code, meter in meters.items():
        types.setdefault(meter.event_type, {})[code] = meter
    return {event_type: EventTypeMeters(of_type) for event_type, of_type in types.items()}
