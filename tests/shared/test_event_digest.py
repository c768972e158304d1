"""I3: equal content has equal digests, however it is written; other content has another."""

import json
from datetime import timedelta, timezone
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.event_data import content_digest, read_data
from shared.events import read_event
from tests.shared.factories import event_bytes, event_document, execution_data

OTHER = "com.example.other"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def digest(raw: bytes) -> bytes:
    event = read_event(raw)
    return content_digest(event, read_data(event))


def rewritten(value: Any, draw: st.DataObject) -> str:
    """Write the same JSON with keys in another order and other white space."""
    blank = draw.draw(st.sampled_from(["", " ", "\n", "\t \r\n"]))
    if isinstance(value, dict):
        items = draw.draw(st.permutations(list(value.items())))
        inner = ",".join(
            f"{blank}{json.dumps(key, ensure_ascii=False)}{blank}:{rewritten(item, draw)}"
            for key, item in items
        )
        return f"{blank}{{{inner}{blank}}}"
    if isinstance(value, list):
        return f"{blank}[{','.join(rewritten(item, draw) for item in value)}{blank}]"
    escaped = draw.draw(st.booleans())
    return f"{blank}{json.dumps(value, ensure_ascii=escaped)}{blank}"


@given(OBJECTS, st.data())
def test_order_and_white_space_make_no_difference(data: Any, draw: st.DataObject) -> None:
    document = event_document(data, type=OTHER)
    assert digest(rewritten(document, draw).encode()) == digest(json.dumps(document).encode())


@given(st.integers(-23 * 60, 23 * 60))
def test_the_offset_of_the_time_makes_no_difference(minutes: int) -> None:
    moment = read_event(event_bytes()).time
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    assert digest(event_bytes(time=elsewhere)) == digest(event_bytes())


@given(st.sampled_from(["traceparent", "tracestate", "team"]), TEXTS, st.booleans())
def test_extensions_make_no_difference(name: str, value: str, unusual: bool) -> None:
    data = execution_data(more=1) if unusual else execution_data()
    value = "".join(filter(str.isprintable, value))
    assert digest(event_bytes(data, **{name: value})) == digest(event_bytes(data))


@given(OBJECTS, OBJECTS)
def test_other_data_has_another_digest(one: Any, other: Any) -> None:
    # Compared as text: to Python, 1 and true are equal.
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert digest(event_bytes(one, type=OTHER)) != digest(event_bytes(other, type=OTHER))


def test_whatever_changes_what_is_billed_changes_the_digest() -> None:
    versions = [
        event_bytes(),
        event_bytes(subject="customer-2"),
        event_bytes(type=OTHER),
        event_bytes(time="2026-10-16T08:30:01Z"),
        event_bytes(time="2026-10-16T08:30:00.000001Z"),
        event_bytes(execution_data(status="failed")),
        event_bytes(execution_data(model="claude-opus-4.1")),
        event_bytes(execution_data(input_tokens=1001)),
        event_bytes(execution_data(input_tokens=None)),
        event_bytes(execution_data(output_tokens=501)),
        event_bytes(execution_data(key_label="other")),
        event_bytes(execution_data(note="")),
        event_bytes(execution_data(note=None, steps=[1, 2])),
        event_bytes(execution_data(note=None, steps=[2, 1])),
    ]
    assert len({digest(raw) for raw in versions}) == len(versions)


def test_a_border_between_fields_cannot_be_moved() -> None:
    one = event_bytes(type="a", subject="bc")
    other = event_bytes(type="ab", subject="c")
    assert digest(one) != digest(other)


def test_what_names_an_event_is_not_what_it_says() -> None:
    assert digest(event_bytes(id="event-2", source="elsewhere")) == digest(event_bytes())
