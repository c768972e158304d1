"""What is read quickly is read to the same as what is looked at closely (I3)."""

import json
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.metering import EventTypeMeters, Meter
from shared.event_data import canonical_data, content_digest, read_data
from shared.event_errors import InvalidEventError
from shared.events import CLOSELY, CloudEvent, Glance, glance_through, read_event
from shared.executions import EXECUTION_FINISHED, EXECUTION_NUMBERS, ExecutionEvent, PlainExecution
from tests.services.rater.factories import shipped_meters
from tests.shared.factories import event_bytes, execution_data

PRINTABLE = st.characters(codec="ascii", categories=("L", "N", "P"), exclude_characters='"\\')
NAMES = st.text(PRINTABLE, min_size=1, max_size=9)
TOKENS = st.integers(0, 10**12)
DATA = st.fixed_dictionaries(
    {"execution_id": NAMES, "status": st.sampled_from(["succeeded", "failed"]), "model": NAMES},
    optional={
        "input_tokens": TOKENS,
        "output_tokens": TOKENS,
        "key_label": st.none() | NAMES,
        "failure_reason": st.none() | NAMES,
    },
)
SHIPPED = shipped_meters()[EXECUTION_FINISHED]
OTHERS = EventTypeMeters(
    {
        "peak": Meter(EXECUTION_FINISHED, "max", property="output_tokens"),
        "regions": Meter(EXECUTION_FINISHED, "count", dimensions=["region"]),
        "keys": Meter(EXECUTION_FINISHED, "unique_count", property="key_label"),
        "reasons": Meter(EXECUTION_FINISHED, "count", {"failure_reason": "timeout"}),
    }
)
"""Meters of which one looks at what an execution has not, and one at what is no number."""


def quickly(raw: bytes) -> ExecutionEvent:
    event = read_event(raw, Glance(suspect=False, plain=True))
    assert isinstance(event, ExecutionEvent)
    return event


def closely(document: dict[str, Any]) -> CloudEvent:
    """Read the same event with an extension, which makes it an unusual one."""
    event = read_event(json.dumps({**document, "other": "x"}).encode())
    assert isinstance(event, CloudEvent)
    return event


@given(DATA, st.sampled_from(["2026-10-16T10:30:00Z", "2026-10-16T10:30:00.25+02:00"]))
def test_the_quick_reading_and_the_close_one_come_to_the_same(
    data: dict[str, Any], time: str
) -> None:
    raw = event_bytes(data, time=time)
    document = json.loads(raw)
    quick, close = quickly(raw), closely(document)
    for name in ("id", "source", "type", "subject", "time"):
        assert getattr(quick, name) == getattr(close, name)
    read_quickly, read_closely = read_data(quick), read_data(close)
    assert msgspec.to_builtins(read_quickly) == read_closely == document["data"]
    assert canonical_data(read_quickly) == canonical_data(read_closely)
    assert content_digest(quick, read_quickly) == content_digest(close, read_closely)
    for meters in (SHIPPED, OTHERS):
        assert meters.read(read_quickly) == meters.read(read_closely)


def test_a_meter_that_adds_up_a_text_is_refused_however_the_event_was_read() -> None:
    meters = EventTypeMeters({"models": Meter(EXECUTION_FINISHED, "sum", property="model")})
    event = quickly(event_bytes())
    with pytest.raises(InvalidEventError) as caught:
        meters.read(event.data)
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", "/data/model")


def test_what_counts_as_a_number_is_one_by_its_type() -> None:
    hints = get_type_hints(PlainExecution)
    numbers = {name for name, hint in hints.items() if int in get_args(hint)}
    assert numbers == EXECUTION_NUMBERS


@pytest.mark.parametrize(
    "raw",
    [
        event_bytes(execution_data(region="eu")),
        event_bytes(other="x"),
        event_bytes(execution_data(model="modèle")),
        event_bytes(execution_data(model='quoted "name"')),
        event_bytes(execution_data(model="with\x7fdel")),
        event_bytes(datacontenttype="application/vnd.x+json"),
    ],
)
def test_what_is_unusual_is_looked_at_closely(raw: bytes) -> None:
    assert isinstance(read_event(raw, CLOSELY), CloudEvent)
    assert isinstance(read_event(raw, glance_through(raw)), CloudEvent)
