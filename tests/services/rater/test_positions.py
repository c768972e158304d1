"""Which records may be handled, given what of the log was read. No server is asked."""

from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from services.rater.consumer import Positions
from shared.database import Pool
from tests.services.rater.factories import TOPIC, LogRecord

PLACE = (TOPIC, 3)
OTHER = (TOPIC, 4)


@pytest.fixture
def positions() -> Positions:
    made = Positions(cast("Pool", None))
    made.start(PLACE, 10)
    return made


def take(positions: Positions, *offsets: int, place: tuple[str, int] = PLACE) -> list[int] | None:
    """Give the offsets from where on the log was read and of the records that are taken."""
    records: list[Any] = [LogRecord(b"", offset, place[1], place[0]) for offset in offsets]
    run = positions.take(records)
    return None if run is None else [run.begins, *(record.offset for record in run.records)]


def test_what_was_sought_is_taken(positions: Positions) -> None:
    assert take(positions, 10, 11) == [10, 10, 11]
    assert take(positions, 12) == [12, 12]


def test_a_record_beyond_what_was_sought_is_not_believed_at_once(positions: Positions) -> None:
    assert take(positions, 50) is None
    assert take(positions, 10) == [10, 10]


def test_a_gap_is_believed_when_a_seek_finds_it_again(positions: Positions) -> None:
    assert take(positions, 12) is None
    positions.forget([TopicPartition(*PLACE)])
    positions.start(PLACE, 10)
    assert take(positions, 12) == [10, 12]


def test_a_gap_after_records_is_the_logs(positions: Positions) -> None:
    assert take(positions, 10) == [10, 10]
    assert take(positions, 15, 17) == [11, 15, 17]
    assert take(positions, 30) == [18, 30]


def test_two_strays_are_no_gap(positions: Positions) -> None:
    assert take(positions, 50) is None
    assert take(positions, 70) is None
    assert take(positions, 10) == [10, 10]


def test_a_gap_is_of_its_own_partition(positions: Positions) -> None:
    positions.start(OTHER, 10)
    assert take(positions, 12) is None
    assert take(positions, 12, place=OTHER) is None
    assert take(positions, 12) == [10, 12]


def test_a_record_before_what_was_read_is_not_taken(positions: Positions) -> None:
    assert take(positions, 9) is None
    assert take(positions, 10) == [10, 10]
    assert take(positions, 10) is None


def test_where_records_were_lost_no_gap_is_believed(positions: Positions) -> None:
    assert take(positions, 12) is None
    assert positions.doubt() == [TopicPartition(*PLACE)]
    positions.start(PLACE, 10)
    assert take(positions, 12) is None


def test_a_partition_that_was_given_away_is_forgotten(positions: Positions) -> None:
    positions.forget([TopicPartition(*PLACE), TopicPartition(TOPIC, 9)])
    assert positions.next == {}
    assert not positions.knows(PLACE)
