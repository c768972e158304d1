"""Reading records at once comes to what looking at each does, and is done where it can be."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.batch import Batch
from services.rater.metering import Meter, by_event_type
from services.rater.records import RecordReader
from shared.events import STRUCTURED, TimeLimits
from shared.executions import EXECUTION_FINISHED, in_one, read_each
from tests.services.rater.factories import LogRecord, shipped_meters
from tests.shared.factories import NOW, event_bytes, execution_data

LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)
BY_INGEST = (("content-type", STRUCTURED),)
METERS = [
    shipped_meters(),
    {},
    by_event_type({"reasons": Meter(EXECUTION_FINISHED, "sum", property="failure_reason")}),
    by_event_type({"regions": Meter(EXECUTION_FINISHED, "count", dimensions=["region"])}),
]

DATA = st.builds(
    lambda changes: execution_data(**changes),
    st.fixed_dictionaries(
        {},
        optional={
            "input_tokens": st.integers(0, 9) | st.just(10**12),
            "output_tokens": st.just(None),
            "key_label": st.none() | st.sampled_from(["main", "other"]),
            "failure_reason": st.sampled_from(["timeout", "naïve", "a\nb"]),
            "note": st.just("x"),
        },
    ),
)
EVENTS = st.builds(
    lambda data, changes: event_bytes(data, **changes),
    DATA,
    st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b", "c", "d", "e"])},
        optional={
            "source": st.just("others"),
            "time": st.sampled_from(
                [
                    "2026-10-16T10:30:00+02:00",
                    (NOW - timedelta(days=90)).isoformat(),
                    (NOW + timedelta(seconds=300)).isoformat(),
                    (NOW + timedelta(seconds=301)).isoformat(),
                    "2020-01-01T00:00:00Z",
                ]
            ),
            "type": st.just("com.example.other"),
            "team": st.just("blue"),
        },
    ),
)
PIECES = st.sampled_from([b"", b"{", b"}", b"[", b"]", b",", b'"', b"],[", b"]]", b"\n", b"?"])
VALUES = st.one_of(
    EVENTS,
    st.none(),
    st.builds(lambda one, between, other: one + between + other, EVENTS, PIECES, EVENTS),
    st.builds(lambda event, cut, piece: event[:cut] + piece, EVENTS, st.integers(0, 400), PIECES),
    st.builds(lambda event, cut, piece: piece + event[cut:], EVENTS, st.integers(0, 400), PIECES),
)
RECORDS = st.builds(
    LogRecord,
    VALUES,
    partition=st.integers(0, 1),
    timestamp=st.integers(0, 2).map(lambda n: int(NOW.timestamp() * 1000) + n),
    headers=st.sampled_from([BY_INGEST, BY_INGEST, BY_INGEST, (), (("x", b"y"),)]),
)


def by_each(reader: RecordReader, records: list[LogRecord]) -> Batch:
    """Look at each record by itself, which the reader otherwise does only where it must."""
    for record in records:
        alone = LogRecord(
            record.value, record.offset, record.partition, timestamp=record.timestamp,
            headers=(*record.headers, ("traceless", b"")) if record.headers else (),
        )  # fmt: skip
        reader.read([alone])
    return reader.batch


@given(st.lists(RECORDS, max_size=6), st.sampled_from(METERS), st.integers(1, 6))
def test_records_fare_alike_however_they_are_read(
    records: list[LogRecord], meters: dict[str, Any], part: int
) -> None:
    placed = [
        LogRecord(one.value, offset, one.partition, timestamp=one.timestamp, headers=one.headers)
        for offset, one in enumerate(records)
    ]
    at_once, each = RecordReader(meters, LIMITS), RecordReader(meters, LIMITS)
    for start in range(0, len(placed), part):
        at_once.read(placed[start : start + part])
    by_each(each, placed)
    assert at_once.batch.events == each.batch.events
    assert at_once.batch.duplicates == each.batch.duplicates
    assert at_once.batch.conflicts == each.batch.conflicts
    assert at_once.batch.counts == each.batch.counts
    assert [
        (letter.offset, letter.code, letter.pointer) for letter in at_once.batch.dead_letters
    ] == [(letter.offset, letter.code, letter.pointer) for letter in each.batch.dead_letters]


def test_plain_records_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_at(*_: object) -> None:
        raise AssertionError("a record was looked at by itself")

    monkeypatch.setattr("services.rater.records._read_record", looked_at)
    reader = RecordReader(shipped_meters(), LIMITS)
    log = [LogRecord(event_bytes(id=f"{n}"), n, headers=BY_INGEST) for n in range(100)]
    assert [event.id for event in reader.read(log).events()] == [f"{n}" for n in range(100)]


def read_with_plain_ones(value: bytes) -> Batch:
    reader = RecordReader(shipped_meters(), LIMITS)
    values = [value, event_bytes(id="next"), event_bytes(id="last")]
    reader.read([LogRecord(one, n, headers=BY_INGEST) for n, one in enumerate(values)])
    return reader.batch


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (event_bytes(id="a") + b"],[" + event_bytes(id="b"), "invalid_json"),
        (event_bytes(id="a") + b"],\n[" + event_bytes(id="b"), "invalid_json"),
        (event_bytes().replace(b"{", b"{" + b" " * 64_000, 1), "too_large"),
        (event_bytes(time="0001-01-01T00:00:00+01:00"), "too_old"),
        (event_bytes(time="9999-12-31T23:59:59-01:00"), "in_the_future"),
    ],
    ids=["two events", "two lines", "blanks", "before all time", "after all time"],
)
def test_a_record_that_is_none_takes_no_others_place(value: bytes, code: str) -> None:
    batch = read_with_plain_ones(value)
    assert [(event.id, event.offset) for event in batch.events] == [("next", 1), ("last", 2)]
    assert [(letter.offset, letter.code) for letter in batch.dead_letters] == [(0, code)]


@pytest.mark.parametrize(
    "texts",
    [
        [event_bytes(id="a") + b"," + event_bytes(id="b")],
        [event_bytes(id="a") + b"],[" + event_bytes(id="b")],
        [event_bytes(id="a") + b"],\n[" + event_bytes(id="b")],
        [event_bytes()[:-1], b"}"],
        [event_bytes()[:40], event_bytes()[40:]],
        [event_bytes(id="a}")[:20], event_bytes(id="b")],
        [b"", event_bytes() + b"," + event_bytes()],
        [b"]]", b"[["],
    ],
)
def test_texts_do_not_reach_into_each_other(texts: list[bytes]) -> None:
    """Each alone is no event, so together they are none either, whatever their number."""
    assert read_each(in_one(texts), len(texts)) is None


def test_texts_of_one_event_each_are_found_in_their_order() -> None:
    texts = [event_bytes(id=f"{n}") for n in range(3)]
    found = read_each(in_one(texts), len(texts))
    assert found is not None
    assert [event.id for event in found] == ["0", "1", "2"]
