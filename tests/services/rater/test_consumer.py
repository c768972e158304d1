"""Whatever gaps a log has and whatever breaks while it is fetched, each record is handled once."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError
from faststream.kafka import KafkaBroker
from hypothesis import given
from hypothesis import strategies as st

from services.rater import consumer
from services.rater.batch import next_offsets
from services.rater.ledger import FencedError
from services.rater.rating import Rating
from shared.database import Pool
from shared.settings import Settings
from tests.services.rater.factories import TOPIC, LogRecord

MOST = 12
PART = 4
ROUNDS = 400

Log = dict[int, list[int]]
"""The offsets that hold a record, by partition; the others are markers of transactions."""

# Whether a call fails, or a batch finds another rater's mark in the books.
CHANCES = st.lists(st.booleans(), max_size=30)
LOGS = st.lists(
    st.lists(st.integers(0, 60), min_size=1, unique=True).map(sorted), min_size=1, max_size=3
).map(lambda logs: dict(enumerate(logs)))


@pytest.fixture(autouse=True, scope="module")
def _small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumer, "_FETCH_RECORDS", PART)
        yield


class Chances:
    """Says yes or no, as drawn, and no once all are used up."""

    def __init__(self, drawn: Sequence[bool]) -> None:
        self._left = list(drawn)

    def __call__(self) -> bool:
        return bool(self._left) and self._left.pop(0)


class FakeKafka:
    """A consumer that hands out records as aiokafka does, and loses what it had in hand."""

    def __init__(self, log: Log, fails: Callable[[], bool]) -> None:
        self.log = log
        self.fails = fails
        self.at = dict.fromkeys(log, 0)
        self.paused: set[int] = set()

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused |= {one.partition for one in partitions}

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused -= {one.partition for one in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition.partition] = offset

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(TOPIC, partition) for partition in self.log}

    async def beginning_offsets(self, _: object) -> dict[TopicPartition, int]:
        return dict.fromkeys(self.assignment(), 0)

    async def end_offsets(self, _: object) -> dict[TopicPartition, int]:
        return {one: self.log[one.partition][-1] + 1 for one in self.assignment()}

    async def getmany(
        self, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[LogRecord]]:
        await asyncio.sleep(0)
        found = {}
        for partition, offsets in self.log.items():
            if partition in self.paused or max_records == 0:
                continue
            first = bisect_left(offsets, self.at[partition])
            taken = offsets[first : first + max_records]
            if taken:
                self.at[partition] = taken[-1] + 1
                max_records -= len(taken)
                found[TopicPartition(TOPIC, partition)] = [
                    LogRecord(b"", offset, partition) for offset in taken
                ]
            if self.fails():
                raise CorruptRecordException("of another partition")
        return found


class Books:
    """Keeps what was handled, and the offsets, as Postgres would."""

    def __init__(self, fenced: Callable[[], bool], moved: Callable[[], bool]) -> None:
        self.next: dict[tuple[str, int], int] = {}
        self.handled: list[tuple[int, int]] = []
        self.fenced = fenced
        self.moved = moved
        self.move: Callable[[], object] = lambda: None

    async def handle(
        self,
        runs: Sequence[Sequence[Any]],
        expected: Mapping[tuple[str, int], int],
        meanwhile: Callable[[], object],
    ) -> dict[tuple[str, int], int]:
        if self.fenced() or any(self.next[place] != at for place, at in expected.items()):
            raise FencedError("another")
        meanwhile()
        for _ in range(5):
            await asyncio.sleep(0)
            if self.moved():  # partitions are taken away, and given back
                self.move()
        self.handled += [(record.partition, record.offset) for run in runs for record in run]
        self.next |= next_offsets(runs)
        return next_offsets(runs)

    async def execute(self, _: str, topic: str, partition: int, offset: int) -> None:
        self.next.setdefault((topic, partition), offset)

    async def fetch(self, _: str) -> list[dict[str, object]]:
        return [
            {"topic": topic, "partition": partition, "next": offset}
            for (topic, partition), offset in self.next.items()
        ]


def make(kafka: FakeKafka, books: Books) -> consumer.UsageConsumer:
    settings = Settings(_env_file=None, usage_topic=TOPIC, rater_batch_records=MOST)
    made = consumer.UsageConsumer(settings, KafkaBroker())
    made.use(cast("Rating", books), cast("Pool", books))
    made._subscriber.consumer = kafka
    return made


async def consume(kafka: FakeKafka, books: Books) -> None:
    """Consume the log to its end, as FastStream's loop does."""
    made = make(kafka, books)
    books.move = lambda: made.start_from_books(sorted(kafka.assignment()))
    books.move()
    for _ in range(ROUNDS):
        if len(books.handled) >= sum(map(len, kafka.log.values())):
            return
        try:
            if runs := await made._get_runs(cast("Any", kafka)):
                await made._handle(runs)
        except KafkaError:
            pass
        await asyncio.sleep(0)


def assert_all_handled(
    log: Log,
    failing: Sequence[bool] = (),
    fenced: Sequence[bool] = (),
    moved: Sequence[bool] = (),
) -> None:
    kafka, books = FakeKafka(log, Chances(failing)), Books(Chances(fenced), Chances(moved))
    asyncio.run(consume(kafka, books))
    for partition, offsets in log.items():
        assert [offset for place, offset in books.handled if place == partition] == offsets


@given(LOGS, CHANCES, CHANCES, CHANCES)
def test_each_record_is_handled_once_and_in_order(
    log: Log, failing: list[bool], fenced: list[bool], moved: list[bool]
) -> None:
    assert_all_handled(log, failing, fenced, moved)


def test_what_was_fetched_ahead_of_a_seek_is_fetched_again() -> None:
    assert_all_handled({0: list(range(100))}, moved=[True] * 7 + [False, True] * 20)


def test_a_log_of_transactions_is_read_to_its_end() -> None:
    """A marker after every record: there is a gap before each part that is fetched."""
    assert_all_handled({0: list(range(1, 400, 2))})


def test_records_that_were_lost_twice_at_one_place_are_no_gap() -> None:
    assert_all_handled({0: list(range(100))}, [False, True, False, True, False, True])


async def test_records_beyond_the_books_are_not_handled() -> None:
    """Whatever way they came: the partition is sought again, with the others untouched."""
    kafka = FakeKafka({0: [10], 1: [10]}, lambda: False)
    made = make(kafka, Books(lambda: False, lambda: False))
    for partition in (0, 1):
        made.positions.start((TOPIC, partition), 10)

    def run(partition: int, *offsets: int) -> consumer.Run:
        records: list[Any] = [LogRecord(b"", offset, partition) for offset in offsets]
        return consumer.Run(offsets[0], records)

    ready = made._in_order([run(0, 10), run(1, 10, 11), run(0, 12, 13), run(1, 11, 12)])
    assert [[(one.partition, one.offset) for one in records] for records in ready] == [
        [(1, 10), (1, 11)],
        [(1, 12)],
    ]
    assert not made.positions.knows((TOPIC, 0))
    assert kafka.paused == {0}
