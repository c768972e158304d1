"""What the JSON Schema of an event type says of an event, the code that reads it says too."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.describing.event_types import EventType, event_schema, event_types
from services.rater.metering import Meter, by_event_type
from services.rater.records import RecordReader
from shared.events import TimeLimits
from shared.executions import EXECUTION_FINISHED
from tests.services.rater.factories import LogRecord
from tests.shared.factories import event_document, execution_data

IMAGE = "com.example.image.rendered"
DEFINITIONS: dict[str, dict[str, Any]] = {
    "executions": {
        "event_type": EXECUTION_FINISHED,
        "aggregate": "count",
        "filter": {"status": "succeeded"},
        "dimensions": ["model", "region"],
    },
    "pixels": {"event_type": IMAGE, "aggregate": "sum", "property": "pixels"},
    "artists": {"event_type": IMAGE, "aggregate": "unique_count", "property": "artist"},
}
TYPES = {one.name: one for one in event_types(DEFINITIONS)}
METERS = by_event_type({code: msgspec.convert(meter, Meter) for code, meter in DEFINITIONS.items()})
VALIDATORS = {
    name: jsonschema.Draft202012Validator(event_schema(one)) for name, one in TYPES.items()
}
DATA = {EXECUTION_FINISHED: execution_data(), IMAGE: {"pixels": 9, "artist": "ann"}}

VALUES = st.sampled_from(
    [
        None, True, 0, 1, -1, 0.5, 10**12, 10**12 + 1, -(10**12), -(10**12) - 1, 2**31, "", "x",
        "x" * 256, "x" * 257, "x" * 1025, "x" * 2049, "a\x00b", "tab\there", "ü", "\u200b", "1.0",
        "succeeded", "application/json", "application/xml", [], [1], ["a\x00"], {}, {"a": {"b": 1}},
        {"a": 10**13}, "2026-10-16T08:30:00Z", "2026-10-16T08:30:00", "2026-13-01T00:00:00Z",
    ]
)  # fmt: skip
ATTRIBUTES = st.sampled_from(
    ["specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype",
     "dataschema", "traceparent", "other", "Other", "an_other", "x" * 65]
)  # fmt: skip
FIELDS = st.sampled_from(
    ["execution_id", "status", "model", "input_tokens", "output_tokens", "key_label", "region",
     "failure_reason", "pixels", "artist", "note"]
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(st.sampled_from(["event", "data"]), ATTRIBUTES, FIELDS, st.booleans(), VALUES),
    max_size=3,
)


def taken(document: dict[str, Any]) -> bool:
    """Tell whether an event is taken, by the code that ingest reads it with too, and metered."""
    reader = RecordReader(METERS, TimeLimits(36_500, 36_500 * 86_400))
    return len(reader.read([LogRecord(json.dumps(document).encode())]).ids) == 1


@given(st.sampled_from(sorted(TYPES)), CHANGES)
@example(IMAGE, [("data", "id", "artist", False, {})])
@example(IMAGE, [("data", "id", "pixels", False, -1)])
@example(EXECUTION_FINISHED, [("data", "id", "region", False, "x" * 257)])
def test_schema_and_code_agree(name: str, changes: list[tuple[str, str, str, bool, Any]]) -> None:
    document = event_document(dict(DATA[name]), type=name)
    for where, attribute, field, removed, value in changes:
        owner = document if where == "event" else document.get("data")
        key = attribute if where == "event" else field
        if not isinstance(owner, dict) or (where == "event" and key == "type"):
            continue
        if removed:
            owner.pop(key, None)
        else:
            owner[key] = value
    assert VALIDATORS[name].is_valid(document) == taken(document)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_schema_is_one_by_its_dialect_and_for_its_type_only(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(event_schema(TYPES[name]))
    (other,) = TYPES.keys() - {name}
    assert not VALIDATORS[name].is_valid(event_document(DATA[name], type=other))


def test_types_are_gathered_from_meters() -> None:
    assert TYPES[IMAGE] == EventType(
        IMAGE, ("artists", "pixels"), frozenset({"pixels"}), frozenset({"artist"})
    )
    assert TYPES[EXECUTION_FINISHED].plain == {"status", "model", "region"}


def test_executions_have_a_schema_without_any_meter() -> None:
    (only,) = event_types({})
    assert jsonschema.Draft202012Validator(event_schema(only)).is_valid(event_document())
