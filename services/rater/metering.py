"""Meters: what they count, and what they need of an event for that. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from shared.event_data import Data
from shared.event_errors import InvalidEventError
from shared.executions import EXECUTION_NUMBERS, PlainExecution

_LONGEST_VALUE = 256
"""Characters of a value by which running totals are kept, in an index."""

_MOST_REMEMBERED = 10_000


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events of a type count, and what of them makes a month's quantity.

    `filter` names properties of the data and the values they must have. `count` adds one an
    event, `sum` the value of `property`; `max` is the highest value of it, 0 where there is
    none, and `unique_count` counts how many different values it had. `dimensions` are
    properties by which the quantity is split for reading; they never change a price.
    """

    event_type: str
    aggregate: Literal["count", "sum", "max", "unique_count"]
    filter: dict[str, str] = {}
    property: str | None = None
    dimensions: list[str] = []


class Reading(NamedTuple):
    """What the meters of a type need of an event."""

    group: tuple[str | None, ...]
    values: tuple[int | Decimal, ...]
    members: tuple[str | None, ...]


ReadingColumns = tuple[
    Sequence[tuple[str | None, ...]],
    Sequence[tuple[int | Decimal, ...]],
    Sequence[tuple[str | None, ...]],
]
"""What the meters of a type need of many events: groups, values and members."""


class EventTypeMeters:
    """The meters of one event type, ready to be asked of many events."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self._meters = dict(meters)
        names = {name for meter in meters.values() for name in (*meter.filter, *meter.dimensions)}
        self._group_names = tuple(sorted(names))
        self._value_names = self._properties("sum", "max")
        self._zeros = (0,) * len(self._value_names)
        self._member_names = self._properties("unique_count")
        self.peak_positions = tuple(map(self._value_names.index, self._properties("max")))
        """Which of the values have a peak that a meter looks at."""
        self._plain_groups: dict[tuple[Any, ...], tuple[str | None, ...]] = {}
        self._reads_executions = (
            names <= set(PlainExecution.__struct_fields__)
            and set(self._value_names) <= EXECUTION_NUMBERS
            and not self._member_names
        )
        self._group_of = _getter(self._group_names)
        self._values_of = _getter(self._value_names)
        self._dimensions = {name for meter in meters.values() for name in meter.dimensions}

    def _properties(self, *aggregates: str) -> tuple[str, ...]:
        meters = self._meters.values()
        return tuple(
            sorted({m.property for m in meters if m.property and m.aggregate in aggregates})
        )

    def read_leniently(self, data: dict[str, Any]) -> Reading:
        """Read an event that is stored already; what its meters cannot read counts for nothing.

        A meter may have come after the event: that it refuses one of its properties must
        neither stop the others nor take away what they counted.
        """
        try:
            return self.read(data)
        except InvalidEventError:
            return self.read(
                {name: value for name, value in data.items() if self._reads(name, value)}
            )

    def _reads(self, name: str, value: object) -> bool:
        try:
            self.read({name: value})
        except InvalidEventError:
            return False
        return True

    def read(self, data: Data) -> Reading:
        """Give what an event is grouped by, and the values that its meters look at.

        Raises `InvalidEventError` where a value that would be added up is no number of 0 or
        more, and where one that it would be grouped or told apart by is no plain value, or too
        long.
        """
        if isinstance(data, PlainExecution):
            if self._reads_executions:
                (group,), (values,), (members,) = self.read_executions((data,))
                return Reading(group, values, members)
            data = msgspec.to_builtins(data)
        assert isinstance(data, dict)
        get = data.get
        group = self._plain_group(tuple(map(get, self._group_names)))
        values = tuple(map(get, self._value_names, self._zeros))
        for value in values:
            if (type(value) is not int and type(value) is not Decimal) or value < 0:
                self._refuse_values(values)
        members = tuple(self._member(name, get(name)) for name in self._member_names)
        return Reading(group, values, members)

    def read_executions(self, executions: Sequence[PlainExecution]) -> ReadingColumns:
        """Read executions as `read` does each; there is at least one."""
        if not self._reads_executions:
            return _by_column(map(self.read, executions))
        values = list(map(self._values_of, executions))
        if UNSET in chain.from_iterable(values):
            values = [
                tuple(0 if value is UNSET else value for value in of_one) for of_one in values
            ]
        known = self._plain_groups.get
        groups = [
            known(group) or self._plain_group(group) for group in map(self._group_of, executions)
        ]
        return groups, values, [()] * len(groups)

    def _plain_group(self, group: tuple[Any, ...]) -> tuple[str | None, ...]:
        """Write what an event is grouped by as text; remember what needed no writing.

        A batch has many events and few groups. Only texts are remembered: 1 and true are
        equal to Python, but a text equals nothing but itself.
        """
        try:
            known = self._plain_groups.get(group)
        except TypeError:  # it holds a dict or a list
            known = None
        if known is not None:
            return known
        plain = tuple(map(self._group_value, self._group_names, group))
        if all(value in (None, UNSET) or type(value) is str for value in group):
            if len(self._plain_groups) >= _MOST_REMEMBERED:
                self._plain_groups.clear()
            self._plain_groups[group] = plain
        return plain

    def _refuse_values(self, values: tuple[Any, ...]) -> None:
        for name, value in zip(self._value_names, values, strict=True):
            if type(value) is not int and type(value) is not Decimal:
                raise InvalidEventError("invalid_data", "must be a number", f"/data/{name}")
            if value < 0:
                raise InvalidEventError("invalid_data", "must not be negative", f"/data/{name}")

    def _group_value(self, name: str, value: object) -> str | None:
        """Write a value as text: 1, 1.0 and true are equal to Python, and must not be one."""
        text = None if value is UNSET else _plain_text(name, value)
        if text is not None and len(text) > _LONGEST_VALUE and name in self._dimensions:
            raise _too_long(name)
        return text

    def _member(self, name: str, value: object) -> str | None:
        text = _plain_text(name, value)
        if text is not None and len(text) > _LONGEST_VALUE:
            raise _too_long(name)
        return text

    def counting(self, group: tuple[str | None, ...]) -> Iterator[tuple[str, Meter, int | None]]:
        """Give the meters that events of a group count for, and where their property stands.

        The place is one in the values, or in the members for a unique count.
        """
        properties = dict(zip(self._group_names, group, strict=True))
        for code, meter in self._meters.items():
            if any(properties[name] != value for name, value in meter.filter.items()):
                continue
            names = self._member_names if meter.aggregate == "unique_count" else self._value_names
            yield code, meter, None if meter.property is None else names.index(meter.property)

    def splits(self, meter: Meter, group: tuple[str | None, ...]) -> Iterator[tuple[str, str]]:
        """Give a meter's dimensions, with the values that they have in a group."""
        properties = dict(zip(self._group_names, group, strict=True))
        for name in meter.dimensions:
            if (value := properties[name]) is not None:
                yield name, value


def _by_column(readings: Iterable[Reading]) -> ReadingColumns:
    groups, values, members = zip(*readings, strict=True)
    return groups, values, members


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[Any, ...]]:
    """Make what gives an object's attributes, in the quickest way there is."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda owner: tuple(getattr(owner, name) for name in names)


def _plain_text(name: str, value: object) -> str | None:
    if type(value) is dict or type(value) is list:
        raise InvalidEventError("invalid_data", "must be a plain value", f"/data/{name}")
    return value if value is None or type(value) is str else _text(value)


def _too_long(name: str) -> InvalidEventError:
    detail = f"has more than {_LONGEST_VALUE} characters"
    return InvalidEventError("invalid_data", detail, f"/data/{name}")


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
