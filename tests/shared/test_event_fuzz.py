"""Whatever bytes come, they are an event or are refused as none: nothing else is raised."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.event_data import canonical_data, content_digest, read_data
from shared.event_errors import InvalidEventError
from shared.events import read_event
from tests.shared.factories import event_bytes, event_document, execution_data

CODES = {
    "invalid_json",
    "invalid_event",
    "invalid_data",
    "unsupported_datacontenttype",
    "too_large",
    "secret_in_payload",
}
HOSTILE = st.sampled_from(
    [
        b"\x00", b"\x7f", b"\xff", b"\xc3", b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":",
        b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"1e999999999999999999999", b"-0", b"0e-400",
        b"0e1073741824", b"NaN", b"Infinity", b"1" * 400, b"[" * 1200, b'{"a":' * 1200, b"null",
        b"true", b"\xef\xbb\xbf", b"0.1", b"\r\n", b"//", b"sk-", b"\\u0073k-",
    ]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.binary().map(str)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def refused(raw: bytes) -> bool:
    """Do all that is done before anything is stored; tell whether the event is refused."""
    try:
        event = read_event(raw)
        read_data(event)
    except InvalidEventError as error:
        return error.code in CODES
    return False


def take(raw: bytes) -> None:
    """Check that bytes are refused, or are an event that can be stored."""
    if refused(raw):
        return
    event = read_event(raw)
    canonical = canonical_data(read_data(event))
    assert len(content_digest(event, read_data(event))) == 16
    # Postgres reads it as JSON, in UTF-8, without NUL.
    assert isinstance(json.loads(canonical), dict)
    assert "\x00" not in canonical.decode()
    assert "\x00" not in event.id + event.source + event.subject + event.type


@given(st.binary())
def test_arbitrary_bytes(raw: bytes) -> None:
    take(raw)


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), HOSTILE | st.binary(max_size=4)))
)
def test_valid_events_that_were_damaged(damages: list[tuple[int, int, bytes]]) -> None:
    raw = event_bytes(execution_data(note=1.5, steps=[1, {"name": "plan"}]))
    for place, length, instead in damages[:4]:
        raw = raw[:place] + instead + raw[place + length :]
        take(raw)


@given(ANYTHING, st.booleans())
def test_any_json_as_data(data: Any, of_execution: bool) -> None:
    changes = {} if of_execution else {"type": "com.example.other"}
    take(event_bytes({"a": data}, **changes))
    take(event_bytes(data, **changes))


@given(st.sampled_from(sorted(event_document())), ANYTHING)
def test_any_json_as_an_attribute(name: str, value: Any) -> None:
    document = {**event_document(), name: value}
    take(json.dumps(document).encode())


@given(st.sampled_from(sorted(execution_data())), ANYTHING)
def test_any_json_as_a_field(name: str, value: Any) -> None:
    take(event_bytes({**execution_data(), name: value}))


@given(st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,25})?", fullmatch=True))
def test_any_number(number: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        take(
            event_bytes("N", type="com.example.other").replace(
                b'"N"', b'{"a":%b}' % number.encode()
            )
        )
