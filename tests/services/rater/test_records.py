"""Each record becomes exactly one of: an event, a duplicate, a conflict, a dead letter."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.batch import Batch, next_offsets
from services.rater.records import RecordReader
from shared.events import STRUCTURED, TimeLimits
from tests.services.rater.factories import TOPIC, LogRecord, log_of, shipped_meters
from tests.shared.factories import (
    NOW,
    event_bytes,
    event_document,
    event_with_raw_data,
    execution_data,
)

METERS = shipped_meters()
LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)
SECRET = "sk-" + "ant-api03-" + "Ab3_-" * 18


def read(*records: LogRecord) -> Batch:
    return read_parts(list(records))


def read_parts(*parts: list[LogRecord]) -> Batch:
    reader = RecordReader(METERS, LIMITS)
    fresh = [event for part in parts if part for event in reader.read(part).events()]
    assert fresh == reader.batch.events
    return reader.batch


def version(name: str, tokens: int = 1_000) -> bytes:
    """Give an event; of one name, other tokens make another version."""
    return event_bytes(execution_data(input_tokens=tokens), id=name)


def test_an_event_is_read_whole() -> None:
    raw = event_bytes(time="2026-10-16T10:30:00+02:00")
    (event,) = read(LogRecord(raw, offset=7, partition=3)).events
    assert event.name == ("agents", "event-1")
    assert (event.customer_id, event.partition, event.offset) == ("customer-1", 3, 7)
    assert event.time == datetime(2026, 10, 16, 8, 30, tzinfo=UTC)
    assert event.time.utcoffset() == timedelta(0)
    assert event.received_at == NOW
    assert event.meters is METERS[event.type]


def test_an_event_of_an_unknown_type_is_stored_and_metered_by_nothing() -> None:
    (event,) = read(LogRecord(event_bytes({"a": 1}, type="com.example.other"))).events
    assert event.meters is None
    assert event.data == '{"a":1}'


def test_repeats_in_a_batch_are_sorted_out() -> None:
    batch = read(
        *log_of(version("a"), version("b"), version("a"), version("a", 5), version("b", 5))
    )
    assert [(event.id, event.offset) for event in batch.events] == [("a", 0), ("b", 1)]
    assert [(event.id, event.offset) for event in batch.duplicates] == [("a", 2)]
    assert [(event.id, event.offset) for event in batch.conflicts] == [("a", 3), ("b", 4)]


def test_the_same_id_from_two_sources_is_two_events() -> None:
    batch = read(*log_of(event_bytes(source="one"), event_bytes(source="two")))
    assert len(batch.events) == 2


def test_what_the_database_holds_is_a_duplicate_or_a_conflict() -> None:
    stored = read(*log_of(version("a"), version("b"))).events
    batch = read(*log_of(version("a"), version("b", 5), version("c")))
    batch.drop({event.name: event.digest for event in stored}, TOPIC)
    assert [event.id for event in batch.events] == ["c"]
    assert [event.id for event in batch.conflicts] == ["b"]
    count = batch.counts[TOPIC, 0]
    assert (count.stored, count.duplicates, count.conflicts) == (1, 1, 1)


def test_repeats_are_judged_by_what_the_database_holds() -> None:
    stored = read(*log_of(version("a", 5))).events
    batch = read(*log_of(version("a"), version("a", 5), version("a")))
    batch.drop({event.name: event.digest for event in stored}, TOPIC)
    assert [event.offset for event in batch.duplicates] == [1]
    assert sorted(event.offset for event in batch.conflicts) == [0, 2]
    assert batch.counts[TOPIC, 0].conflicts == 2


RECORDS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", ""]), st.integers(1, 3), st.integers(0, 2)),
    max_size=12,
)


@given(RECORDS, st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_batches_decide_nothing(written: list[tuple[str, int, int]], sizes: list[int]) -> None:
    """Whatever the batches, each record fares as if it had come alone."""
    offsets = [0, 0, 0]
    log: list[LogRecord] = []
    for name, tokens, partition in written:
        log.append(
            LogRecord(version(name, tokens) if name else b"?", offsets[partition], partition)
        )
        offsets[partition] += 1

    assert outcomes(log, sizes) == outcomes(log, [1] * len(log)) == one_by_one(written)


def outcomes(log: list[LogRecord], sizes: list[int]) -> list[tuple[int, int, int, int]]:
    """Handle a log in batches; give, by partition, what became of its records."""
    known: dict[tuple[str, str], bytes] = {}
    sums = [[0, 0, 0, 0] for _ in range(3)]
    left = list(log)
    for size in [*sizes, len(log)]:
        records, left = left[:size], left[size:]
        batch = read_parts(records[:2], records[2:])
        names = {event.name for event in batch.events}
        batch.drop({name: digest for name, digest in known.items() if name in names}, TOPIC)
        known |= {event.name: event.digest for event in batch.events}
        assert_counted(batch, records)
        for (_, partition), count in batch.counts.items():
            row = (count.stored, count.duplicates, count.conflicts, count.dead_letters)
            sums[partition] = [a + b for a, b in zip(sums[partition], row, strict=True)]
    return [(a, b, c, d) for a, b, c, d in sums]


def assert_counted(batch: Batch, records: list[LogRecord]) -> None:
    """Check that a batch counts every one of its records once."""
    assert sum(count.records for count in batch.counts.values()) == len(records)
    assert sum(count.stored for count in batch.counts.values()) == len(batch.events)
    for (_, partition), count in batch.counts.items():
        offsets = [record.offset for record in records if record.partition == partition]
        assert count.records == len(offsets)
        assert next_offsets([record] for record in records)[TOPIC, partition] == offsets[-1] + 1
        assert count.dead_letters == sum(
            letter.partition == partition for letter in batch.dead_letters
        )


def one_by_one(written: list[tuple[str, int, int]]) -> list[tuple[int, int, int, int]]:
    """The rule: the first of a name is stored; others are equal to it, or are not."""
    first: dict[str, int] = {}
    sums = [[0, 0, 0, 0] for _ in range(3)]
    for name, tokens, partition in written:
        if not name:
            sums[partition][3] += 1
        elif name not in first:
            first[name] = tokens
            sums[partition][0] += 1
        else:
            sums[partition][1 if first[name] == tokens else 2] += 1
    return [(a, b, c, d) for a, b, c, d in sums]


@pytest.mark.parametrize(
    ("value", "code", "pointer"),
    [
        (None, "invalid_json", None),
        (b"", "invalid_json", None),
        (b"\xff\x00", "invalid_json", None),
        (event_bytes(id=""), "invalid_event", "/id"),
        (event_bytes(execution_data(model=None)), "invalid_data", "/data/model"),
        (
            event_bytes(datacontenttype="text/plain"),
            "unsupported_datacontenttype",
            "/datacontenttype",
        ),
        (event_bytes(time="2020-01-01T00:00:00Z"), "too_old", "/time"),
        (event_bytes(time="2030-01-01T00:00:00Z"), "in_the_future", "/time"),
        (event_bytes(execution_data(note="x" * 64_000)), "too_large", None),
        (event_bytes(execution_data(status="bad\x00")), "invalid_data", "/data/status"),
        (
            event_with_raw_data('{"a":1e99999999999999999999}', type="com.example.other"),
            "invalid_data",
            "/data",
        ),
    ],
)
def test_what_is_no_event_is_a_dead_letter_with_its_reason(
    value: bytes | None, code: str, pointer: str | None
) -> None:
    good = event_bytes(id="good")
    batch = read(LogRecord(value, 4, 2, headers=[("a", b"b")]), LogRecord(good, 5, 2))
    (letter,) = batch.dead_letters
    assert (letter.code, letter.pointer) == (code, pointer)
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, 2, 4)
    assert (letter.key, letter.payload, letter.headers) == (b"customer-1", value, [["a", "b"]])
    assert "\x00" not in letter.detail
    assert [event.id for event in batch.events] == ["good"]


CE = {
    f"ce_{name}": value.encode()
    for name, value in event_document(id="b").items()
    if isinstance(value, str)
}
DATA = json.dumps(execution_data()).encode()


class TestModes:
    """The two modes of CloudEvents' Kafka binding, told by the headers."""

    @pytest.mark.parametrize(
        ("value", "headers"),
        [
            (version("b"), {}),
            (version("b"), {"trace": b"x"}),
            (version("b"), {"content-type": STRUCTURED}),
            (version("b"), {"content-type": STRUCTURED, "trace": b"x"}),
            (version("b"), {"content-type": STRUCTURED, "traceparent": b"x"}),
            (version("b"), {"content-type": STRUCTURED, "traceparent": b"x", "ce_id": b"another"}),
            (version("b"), {"content-type": b"application/cloudevents"}),
            (version("b"), {"Content-Type": b"application/CloudEvents+JSON"}),
            (version("b"), {"content-type": STRUCTURED, "ce_id": b"another"}),
            (DATA, CE),
            (DATA, {**CE, "content-type": b"application/json"}),
            (DATA, {**CE, "content-type": b"application/json; charset=utf-8", "trace": b"x"}),
            (DATA, {**CE, "traceparent": b"x", "tracestate": b"y"}),
            (DATA, {"traceparent": b"x", **CE}),
            (DATA, {**CE, "ce_team": "blauö, 50%25".encode()}),
        ],
    )
    def test_the_same_event_is_read_in_either(
        self, value: bytes, headers: dict[str, bytes]
    ) -> None:
        whole = read(LogRecord(version("b"))).events
        assert read(LogRecord(value, headers=list(headers.items()))).events == whole

    def test_what_ingest_wrote_of_a_traced_request_takes_no_longer_way(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr("services.rater.records._structured")
        headers = [("content-type", STRUCTURED), ("traceparent", b"x"), ("tracestate", b"y")]
        assert read(LogRecord(version("b"), headers=headers)).events

    def test_one_in_each_mode_is_a_duplicate(self) -> None:
        batch = read(LogRecord(version("b"), 0), LogRecord(DATA, 1, headers=list(CE.items())))
        assert len(batch.events) == len(batch.duplicates) == 1

    @pytest.mark.parametrize(
        ("value", "changes", "code", "pointer"),
        [
            (DATA, {"ce_id": b""}, "invalid_event", "/id"),
            (DATA, {"ce_id": b"\xff"}, "invalid_event", "/id"),
            (DATA, {"ce_id": None}, "invalid_event", "/id"),
            (DATA, {"ce_specversion": b"0.3"}, "invalid_event", "/specversion"),
            (DATA, {"ce_time": b"2020-01-01T00:00:00Z"}, "too_old", "/time"),
            (DATA, {"ce_Team": b"x"}, "invalid_event", "/Team"),
            (DATA, {"content-type": b"\xff"}, "unsupported_datacontenttype", "/datacontenttype"),
            (DATA, {"content-type": b"application/cloudevents+avro"}, "unsupported_format", None),
            (DATA, {"content-type": STRUCTURED}, "invalid_event", "/specversion"),
            (b"{", {}, "invalid_json", "/data"),
            (None, {}, "invalid_event", "/data"),
        ],
    )
    def test_what_is_invalid_is_a_dead_letter(
        self,
        value: bytes | None,
        changes: dict[str, bytes | None],
        code: str,
        pointer: str | None,
    ) -> None:
        headers = list({**CE, **changes}.items())
        (letter,) = read(LogRecord(value, headers=headers)).dead_letters
        assert (letter.code, letter.pointer, letter.payload) == (code, pointer, value)
        assert len(letter.headers) == len(headers)

    def test_a_content_type_of_data_without_an_event_in_the_headers_is_none(self) -> None:
        record = LogRecord(version("b"), headers=[("content-type", b"application/json")])
        (letter,) = read(record).dead_letters
        assert (letter.code, letter.pointer) == ("invalid_event", "/specversion")


def test_headers_that_postgres_could_not_keep_are_written_so_that_it_can() -> None:
    headers: list[tuple[str, bytes | None]] = [
        ("none", None),
        ("n\x00l", b"\x00"),
        ("raw", b"\xff"),
    ]
    (letter,) = read(LogRecord(b"?", headers=headers)).dead_letters
    assert letter.headers == [["none", ""], ["n\ufffdl", "\ufffd"], ["raw", "\ufffd"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"value": event_bytes(execution_data(note=SECRET))},
        {"value": event_bytes(execution_data(note=SECRET + "x" * 64_000))},
        {"value": SECRET.encode()},
        {"value": event_bytes(id=SECRET)[:-1]},
        {
            "value": event_bytes(id="X", time="no").replace(
                b"X", SECRET.replace("s", r"\u0073").encode()
            )
        },
        {"value": event_bytes(id=SECRET).decode().encode("utf-16")},
        {"value": b"?", "key": SECRET.encode()},
        {"value": b"?", "headers": [("authorization", SECRET.encode())]},
        {"value": b"?", "headers": [(SECRET, b"1")]},
        {"value": b"{}", "headers": [("ce_id", SECRET.encode())]},
        {"value": b"{}", "headers": [("ce_id", SECRET.replace("s", r"\u0073").encode())]},
        {"value": b"{}", "headers": [("ce_id", b"1"), (f"ce_{SECRET}", b"1")]},
    ],
)
def test_nothing_of_a_record_with_a_secret_is_kept(changes: dict[str, Any]) -> None:
    """I11."""
    (letter,) = read(LogRecord(**changes)).dead_letters
    assert (letter.key, letter.payload, letter.headers) == (None, None, [])
    assert "Ab3_" not in letter.detail
    assert letter.pointer is None or "Ab3_" not in letter.pointer


def test_a_secret_in_one_record_does_not_sink_the_others() -> None:
    batch = read(*log_of(version("a"), event_bytes(id=SECRET), version("b")))
    assert [event.id for event in batch.events] == ["a", "b"]
    assert [letter.code for letter in batch.dead_letters] == ["secret_in_payload"]


@given(st.lists(st.binary(max_size=30) | st.none(), max_size=6))
def test_any_bytes_can_be_on_the_log(values: list[bytes | None]) -> None:
    batch = read(*log_of(*values))
    assert len(batch.dead_letters) == len(values)
