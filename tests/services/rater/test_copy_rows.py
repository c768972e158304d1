"""What is written for COPY says of each event what the event says, value by value."""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.batch import EventColumns, StoredEvent
from services.rater.copy_rows import COLUMNS, rows_of

MOMENTS = st.datetimes(timezones=st.just(UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EVENTS = st.builds(
    StoredEvent,
    source=TEXTS,
    id=TEXTS,
    type=st.sampled_from(["ai.execution.finished", "com.example.odd"]),
    customer_id=TEXTS,
    time=MOMENTS,
    data=TEXTS.map(lambda text: f'{{"a":"{text}"}}'),
    digest=st.binary(min_size=16, max_size=16),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    received_at=MOMENTS,
    meters=st.none(),
    group=st.just(()),
    values=st.just(()),
    members=st.just(()),
)


def values_of(rows: bytes) -> Iterator[list[bytes | None]]:
    """Read rows as the documentation of COPY has them, one value after the other."""
    place = 0
    while place < len(rows):
        (count,) = struct.unpack_from("!h", rows, place)
        place += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", rows, place)
            place += 4
            values.append(None if length < 0 else rows[place : place + length])
            place += max(0, length)
        yield values


def number(moment: datetime) -> bytes:
    """Write a moment's microseconds since 2000, counted in whole parts."""
    passed: timedelta = moment - datetime(2000, 1, 1, tzinfo=UTC)
    microseconds = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return microseconds.to_bytes(8, "big", signed=True)


@given(
    st.lists(st.tuples(EVENTS, st.none() | TEXTS), max_size=5),
    st.integers(1, 2**63 - 1),
)
def test_a_row_says_what_its_event_says(
    given_events: list[tuple[StoredEvent, str | None]], batch_id: int
) -> None:
    events = EventColumns.of([event for event, _ in given_events])
    written = rows_of(events, [contract_id for _, contract_id in given_events], batch_id)
    assert [dict(zip(COLUMNS, row, strict=True)) for row in values_of(written)] == [
        {
            "batch_id": batch_id.to_bytes(8, "big"),
            "source": event.source.encode(),
            "type": event.type.encode(),
            "customer_id": event.customer_id.encode(),
            "contract_id": None if contract_id is None else contract_id.encode(),
            "partition": event.partition.to_bytes(4, "big"),
            "log_offset": event.offset.to_bytes(8, "big"),
            "received_at": number(event.received_at),
            "time": number(event.time),
            "digest": event.digest,
            "id": event.id.encode(),
            "data": b"\x01" + event.data.encode(),
        }
        for event, contract_id in given_events
    ]


@pytest.mark.parametrize("digest", [b"", b"x" * 15, b"x" * 17])
def test_a_digest_is_never_cut_or_filled_up(digest: bytes) -> None:
    moment = datetime(2026, 10, 1, tzinfo=UTC)
    event = StoredEvent(
        "s", "i", "t", "c", moment, "{}", digest, 0, 0, moment, None, (), (), ()
    )  # fmt: skip
    with pytest.raises(ValueError, match="digest"):
        rows_of(EventColumns.of([event]), ["contract"], 1)
