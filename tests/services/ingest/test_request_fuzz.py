"""Whatever a request holds, it is refused with a listed code, or each event has a listed verdict.

`HYPOTHESIS_PROFILE=nightly` tries a million inputs in all, about half an hour on one core.
"""

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.reading import BATCH, ONE, Headers, Reader, RequestError, RequestLimits
from services.ingest.verdicts import Unread, decide
from services.rater.records import RecordReader
from shared.events import TimeLimits, glance_through
from shared.keys import SEND_EVENTS, Key
from tests.services.ingest.test_codes import listed
from tests.services.rater.factories import LogRecord, shipped_meters
from tests.shared.factories import NOW, event_bytes, event_document, execution_data

EVENT_CODES = {*listed("Codes of a rejected event"), None}
REQUEST_CODES = set(listed("Codes of a refused request"))
LIMITS = RequestLimits(max_bytes=100_000, max_events=20)
TIMES = TimeLimits(90, 300)
KEY = Key(
    "key_1",
    frozenset({SEND_EVENTS}),
    sources=frozenset({"agents"}),
    customers=frozenset({"customer-1"}),
)
METERS = shipped_meters()

NIGHTLY = 250_000
"""Inputs of each of the four tests at night: a million in all."""
pytestmark = pytest.mark.timeout(7_200)
_profile = settings.get_current_profile_name()
FUZZ = settings(max_examples=NIGHTLY if _profile == "nightly" else 200)

HOSTILE = st.sampled_from(
    [
        b"\x00", b"\x7f", b"\xff", b"\xc2\x85", b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":",
        b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"1e999999999999999999999", b"-0", b"0e-400",
        b"NaN", b"1" * 400, b"[" * 1200, b'{"a":' * 1200, b"null", b"true", b"\xef\xbb\xbf",
        b"\r\n", b"//", b"sk-", b"\\u0073k-", b"%", b"%00", b"%FF", b'"data_base64":"e30=",',
        b'"specversion":"1.0",', b'"Team":1,', b'"team":[],', b"\xe2\x80\xae", b"AKIA",
    ]
)  # fmt: skip
DAMAGES = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 12), HOSTILE | st.binary(max_size=4)), max_size=4
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*event_document(), "data_base64", "datacontenttype", "dataschema", "team"])
HEADER = st.binary(max_size=12) | HOSTILE
CE_NAME = st.sampled_from(
    [b"ce-" + name.encode() for name in (*event_document(), "team", "data_base64", "")]
) | st.binary(max_size=5).map(lambda name: b"ce-" + name)
CONTENT_TYPES = st.sampled_from(
    [
        ONE.encode(), BATCH.encode(), b"application/json", b"application/json; charset=utf-8", b"",
        b"application/cloudevents+avro", b"text/plain", b"\xff", b";",
    ]
)  # fmt: skip
ENCODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"": bytes,
    b"gzip": gzip.compress,
    b"zstd": zstandard.compress,
}


def damaged(raw: bytes, damages: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, instead in damages:
        raw = raw[:place] + instead + raw[place + length :]
    return raw


def read_request(
    headers: Headers, body: bytes
) -> tuple[Sequence[Unread], bytes, bool] | RequestError:
    try:
        reader = Reader(headers, LIMITS)
        plain = reader.plain(body)
        return reader.events(plain), plain, reader.is_batch
    except RequestError as error:
        return error


def take(headers: Headers, body: bytes) -> None:
    """Do all that ingest does before it writes; check every verdict, and what would be written."""
    read = read_request(headers, body)
    if isinstance(read, RequestError):
        assert read.code in REQUEST_CODES
        msgspec.json.encode(str(read))
        return
    events, plain, is_batch = read
    glance = glance_through(plain)
    decision = decide(events, KEY, TIMES, NOW, glance)
    assert decide(events, KEY, TIMES, NOW, glance, plain if is_batch else None) == decision
    assert len(decision.results) == len(events)
    assert {result.code for result in decision.results} <= EVENT_CODES
    msgspec.json.encode(decision.answer())
    for customer, record in decision.records:
        assert isinstance(json.loads(record), dict)
        assert customer == "customer-1"
    records = [LogRecord(record, offset) for offset, (_, record) in enumerate(decision.records)]
    reader_of_log = RecordReader(METERS, TIMES)
    reader_of_log.read(records)
    letters = reader_of_log.batch.dead_letters
    assert not [letter for letter in letters if letter.code != "invalid_data"]


def structured(body: bytes, batch: bool) -> None:
    kind = BATCH if batch else ONE
    take([(b"content-type", kind.encode())], b"[" + body + b"]" if batch else body)


@FUZZ
@given(DAMAGES | st.just([]), st.binary(max_size=40) | st.none(), st.booleans())
def test_structured_bytes(
    damages: list[tuple[int, int, bytes]], instead: bytes | None, batch: bool
) -> None:
    raw = event_bytes(execution_data(note=1.5, steps=[1, {"name": "plan"}]), team="blue")
    structured(damaged(raw, damages) if instead is None else instead, batch)


@FUZZ
@given(st.dictionaries(NAMES, ANYTHING, max_size=3), st.booleans(), st.booleans())
def test_structured_documents(changes: dict[str, Any], other: bool, batch: bool) -> None:
    document = {**event_document(), **({"type": "com.example.other"} if other else {}), **changes}
    structured(json.dumps(document).encode(), batch)


@FUZZ
@given(
    st.lists(st.tuples(CE_NAME, HEADER), max_size=4),
    CONTENT_TYPES,
    st.sampled_from(sorted(ENCODINGS)) | HEADER,
    DAMAGES,
    st.booleans(),
)
def test_headers_and_bodies(
    extra: list[tuple[bytes, bytes]],
    content_type: bytes,
    encoding: bytes,
    damages: list[tuple[int, int, bytes]],
    compressed: bool,
) -> None:
    given_headers = [
        (b"ce-" + name.encode(), value.encode())
        for name, value in event_document().items()
        if isinstance(value, str)
    ]
    compress = ENCODINGS.get(encoding, bytes) if compressed else bytes
    body = compress(damaged(json.dumps(execution_data()).encode(), damages))
    headers = [*given_headers, *extra, (b"content-type", content_type)]
    take([*headers, (b"content-encoding", encoding)], body)
    take([*headers, (b"content-encoding", encoding)], damaged(body, damages))


@FUZZ
@given(
    st.lists(st.tuples(st.text(max_size=8) | st.just("ce_id"), HEADER | st.none()), max_size=3),
    CONTENT_TYPES | st.none(),
    DAMAGES,
    st.booleans(),
)
def test_records_of_others(
    extra: list[tuple[str, bytes | None]],
    content_type: bytes | None,
    damages: list[tuple[int, int, bytes]],
    binary: bool,
) -> None:
    """What others write to Kafka is an event or a dead letter with a listed code."""
    attributes = [
        (f"ce_{name}", value.encode())
        for name, value in event_document().items()
        if isinstance(value, str)
    ]
    headers: list[tuple[str, bytes | None]] = [*(attributes if binary else []), *extra]
    if content_type is not None:
        headers.append(("content-type", content_type))
    value = json.dumps(execution_data()).encode() if binary else event_bytes()
    reader = RecordReader(METERS, TIMES)
    reader.read([LogRecord(damaged(value, damages), headers=headers)])
    assert len(reader.batch.events) + len(reader.batch.dead_letters) == 1
    for letter in reader.batch.dead_letters:
        assert letter.code in EVENT_CODES
    for event in reader.batch.events:
        assert event.time > datetime(2026, 1, 1, tzinfo=UTC)
        json.loads(event.data)
