"""What an event of each type looks like, as JSON Schema 2020-12. Pure.

A schema says of an event in structured form what JSON Schema can say. What it cannot is in
docs/reference/http.md: sizes in bytes, decimal places, nesting, secrets, and how old an event is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.event_attributes import UNPRINTABLE
from shared.event_data import LARGEST_NUMBER
from shared.executions import EXECUTION_FINISHED, Execution

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NAME = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": f"^[^{UNPRINTABLE}]*$"}
_TIME = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"
)
_EXTENSION = {
    "description": "An extension: text of at most 1,024 bytes, a 32-bit integer, or a boolean",
    "anyOf": [
        {"type": "string", "maxLength": 1024, "pattern": f"^[^{UNPRINTABLE}]*$"},
        {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        {"type": ["boolean", "null"]},
    ],
}
_VALUE = {
    "description": "Any JSON, at most 16 deep; texts without NUL, numbers within 10^12",
    "anyOf": [
        {"type": ["boolean", "null"]},
        {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        {"type": "string", "pattern": "^[^\\u0000]*$"},
        {"type": "array", "items": {"$ref": "#/$defs/value"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}},
    ],
}
_PLAIN = {
    "description": "A meter looks for a plain value here",
    "anyOf": [
        {"type": "string", "maxLength": 256, "pattern": "^[^\\u0000]*$"},
        {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
        {"type": ["boolean", "null"]},
    ],
}
_NUMBER = {
    "description": "A meter adds this up, or takes its highest; without it: 0",
    "type": "number",
    "minimum": 0,
    "maximum": LARGEST_NUMBER,
}


@dataclass(frozen=True, slots=True)
class EventType:
    """A type that is metered: which properties of its data are numbers, which plain values."""

    name: str
    meters: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()


def event_types(definitions: Mapping[str, Mapping[str, Any]]) -> list[EventType]:
    """Gather the types that meters look at, and executions, by name.

    `definitions` are meters by code, as the catalogue's JSON has them.
    """
    by_type: dict[str, dict[str, Mapping[str, Any]]] = {EXECUTION_FINISHED: {}}
    for code, meter in definitions.items():
        by_type.setdefault(meter["event_type"], {})[code] = meter
    return [_event_type(name, meters) for name, meters in sorted(by_type.items())]


def _event_type(name: str, meters: Mapping[str, Mapping[str, Any]]) -> EventType:
    numbers: set[str] = set()
    plain: set[str] = set()
    for meter in meters.values():
        plain |= {*meter.get("filter", ()), *meter.get("dimensions", ())}
        if (found := meter.get("property")) is not None:
            (plain if meter["aggregate"] == "unique_count" else numbers).add(found)
    return EventType(name, tuple(sorted(meters)), frozenset(numbers), frozenset(plain))


def event_schema(event_type: EventType) -> dict[str, Any]:
    """Give the schema of an event of a type, in structured form."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:tallybook:event:{event_type.name}",
        "title": event_type.name,
        "description": _description(event_type.meters),
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {**_NAME, "description": "with `source` the event's name"},
            "source": _NAME,
            "type": {"const": event_type.name},
            "subject": {**_NAME, "description": "the customer"},
            "time": {"type": "string", "format": "date-time", "pattern": _TIME},
            "datacontenttype": {"enum": ["application/json", None]},
            "dataschema": {**_NAME, "type": ["string", "null"], "maxLength": 2048},
            "data": data_schema(event_type),
        },
        "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
        "propertyNames": {"pattern": "^[a-z0-9]{1,64}$"},
        "additionalProperties": _EXTENSION,
        "$defs": {"value": _VALUE},
    }


def data_schema(event_type: EventType) -> dict[str, Any]:
    """Give the schema of a type's data; it may hold more than what is named."""
    properties: dict[str, Any] = {}
    required: Iterable[str] = ()
    if event_type.name == EXECUTION_FINISHED:
        _, schemas = msgspec.json.schema_components((Execution,))
        execution = schemas["Execution"]
        properties, required = execution["properties"], execution["required"]
    properties = {
        **dict.fromkeys(sorted(event_type.plain), _PLAIN),
        **dict.fromkeys(sorted(event_type.numbers), _NUMBER),
        **properties,
    }
    return {
        "$ref": "#/$defs/value",
        "type": "object",
        "properties": properties,
        "required": list(required),
    }


def _description(meters: Iterable[str]) -> str:
    named = ", ".join(meters)
    return f"Counted by the meters: {named}" if named else "No meter counts it"
