"""Which records may be handled next, given where the books stand. No server is asked."""

from typing import cast

import pytest
from aiokafka import TopicPartition

from services.rater.consumer import Positions
from shared.database import Pool
from tests.services.rater.factories import TOPIC

PLACE = (TOPIC, 3)


@pytest.fixture
def positions() -> Positions:
    made = Positions(cast("Pool", None))
    made.next[PLACE] = 10
    return made


def test_the_next_record_follows(positions: Positions) -> None:
    assert positions.follows(PLACE, 10)
    positions.next[PLACE] = 11
    assert positions.follows(PLACE, 11)


def test_a_record_beyond_is_not_believed_at_once(positions: Positions) -> None:
    assert not positions.follows(PLACE, 50)
    assert positions.follows(PLACE, 10)


def test_a_gap_is_believed_when_a_seek_finds_it_again(positions: Positions) -> None:
    assert not positions.follows(PLACE, 12)
    assert positions.follows(PLACE, 12)


def test_a_gap_is_believed_only_where_it_was_found(positions: Positions) -> None:
    assert not positions.follows(PLACE, 12)
    assert positions.follows(PLACE, 12)
    positions.next[PLACE] = 13
    assert not positions.follows(PLACE, 15)


def test_two_strays_are_no_gap(positions: Positions) -> None:
    assert not positions.follows(PLACE, 50)
    assert not positions.follows(PLACE, 70)
    assert positions.follows(PLACE, 10)


def test_a_gap_is_of_its_own_partition(positions: Positions) -> None:
    other = (TOPIC, 4)
    positions.next[other] = 10
    assert not positions.follows(PLACE, 12)
    assert not positions.follows(other, 12)


def test_a_partition_that_was_given_away_is_forgotten(positions: Positions) -> None:
    positions.forget([TopicPartition(*PLACE), TopicPartition(TOPIC, 9)])
    assert positions.next == {}
