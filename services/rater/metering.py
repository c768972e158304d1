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
_LONGEST_VALUE = 256
"""Characters of a dimension's value; running totals are kept by it, in an index."""

_MOST_REMEMBERED = 10_000


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
        self._plain_groups: set[tuple[str | None, ...]] = set()
        self._dimensions = {name for meter in meters.values() for name in meter.dimensions}

    def read(
        self, data: Mapping[str, Any]
    ) -> tuple[tuple[str | None, ...], tuple[int | Decimal, ...]]:
        """Give what an event is grouped by, and the values that its meters add up.

        Raises `InvalidEventError` where a value that would be added up is no number, and where
        one that it would be grouped by is no plain value or too long.
        """
        get = data.get
        group = tuple(map(get, self._group_names))
        try:
            known = group in self._plain_groups
        except TypeError:  # it holds a dict or a list
            known = False
        if not known:
            group = self._plain_group(group)
        values = tuple([get(name, 0) for name in self._sum_names])
        for value in values:
            if type(value) is not int and type(value) is not Decimal:
                self._refuse_values(values)
        return group, values

    def _plain_group(self, group: tuple[Any, ...]) -> tuple[str | None, ...]:
        """Write what an event is grouped by as text; remember what needed no writing.

        A batch has many events and few groups. Only texts are remembered: 1 and true are
        equal to Python, but a text equals nothing but itself.
        """
        plain = tuple(map(self._group_value, self._group_names, group))
        if plain == group and all(value is None or type(value) is str for value in group):
            if len(self._plain_groups) >= _MOST_REMEMBERED:
                self._plain_groups.clear()
            self._plain_groups.add(plain)
        return plain

    def _refuse_values(self, values: tuple[Any, ...]) -> None:
        for name, value in zip(self._sum_names, values, strict=True):
            if type(value) is not int and type(value) is not Decimal:
                raise InvalidEventError("invalid_data", "must be a number", f"/data/{name}")

    def _group_value(self, name: str, value: object) -> str | None:
        """Write a value as text: 1, 1.0 and true are equal to Python, and must not be one."""
        if type(value) is dict or type(value) is list:
            raise InvalidEventError("invalid_data", "must be a plain value", f"/data/{name}")
        text = value if value is None or type(value) is str else _text(value)
        if text is not None and len(text) > _LONGEST_VALUE and name in self._dimensions:
            detail = f"has more than {_LONGEST_VALUE} characters"
            raise InvalidEventError("invalid_data", detail, f"/data/{name}")
        return text

    def quantities(
        self, group: tuple[str | None, ...], count: int, sums: Iterable[Decimal]
    ) -> Iterable[tuple[str, str, str, Decimal]]:
        """Give (meter, dimension, value, quantity) for all events of one group together."""
        properties = dict(zip(self._group_names, group, strict=True))
        sum_of = dict(zip(self._sum_names, sums, strict=True))
        for code, meter in self._meters.items():
            if any(properties[name] != value for name, value in meter.filter.items()):
                continue
            counts = meter.aggregate == "count" or meter.property is None
            quantity = Decimal(count) if counts else sum_of[meter.property or ""]
            yield code, "", "", quantity
            for name in meter.dimensions:
                if (value := properties[name]) is not None:
                    yield code, name, value, quantity


class UsageTally:
    """Adds up the events of a batch to the quantities that they change."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], list[Any]] = {}

    def add(
        self,
        contract_id: str,
        usage_period: str,
        meters: EventTypeMeters,
        group: tuple[str | None, ...],
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
            if type(value) is int and type(gathered[position]) is int:
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
    if isinstance(value, Decimal):
        return f"{value or abs(value):f}"
    return str(value)


def by_event_type(meters: Mapping[str, Meter]) -> dict[str, EventTypeMeters]:
    """Sort meters by the event type that they look at."""
    types: dict[str, dict[str, Meter]] = {}
    for code, meter in meters.items():
        types.setdefault(meter.event_type, {})[code] = meter
    return {event_type: EventTypeMeters(of_type) for event_type, of_type in types.items()}
