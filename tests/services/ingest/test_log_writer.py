"""How waiting events are put into batches for Kafka: all of them, once, in order. No server."""

import asyncio
from collections import deque

from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.log_writer import _fill, _Write

Record = tuple[bytes, bytes]


def new_batch(size: int) -> BatchBuilder:
    return BatchBuilder(size, 0)


def records_in(batch: BatchBuilder) -> list[Record]:
    """Read a batch back as a consumer would."""
    return [(record.key, record.value) for record in DefaultRecordBatch(bytes(batch._build()))]


def writes_of(loop: asyncio.AbstractEventLoop, sizes: list[list[int]]) -> deque[_Write]:
    """Make a write for each list of sizes; each record names its write and its place."""
    writes: deque[_Write] = deque()
    for number, lengths in enumerate(sizes):
        write = _Write(loop.create_future())
        write.records = [
            (f"{number}".encode(), f"{place}:".encode() + b"x" * length)
            for place, length in enumerate(lengths)
        ]
        writes.append(write)
    return writes


def drained(writes: deque[_Write], size: int) -> tuple[list[list[Record]], list[list[_Write]]]:
    """Fill batches until nothing waits; give what each holds and which writes it ended."""
    batches: list[list[Record]] = []
    finished: list[list[_Write]] = []
    while writes:
        batch = new_batch(size)
        finished.append(_fill(batch, writes))
        batches.append(records_in(batch))
    return batches, finished


SIZES = st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=6), max_size=6)


@given(SIZES, st.integers(400, 1_500))
async def test_every_record_is_in_one_batch_in_order(sizes: list[list[int]], size: int) -> None:
    writes = writes_of(asyncio.get_running_loop(), sizes)
    expected = [record for write in writes for record in write.records]
    all_writes = list(writes)

    batches, finished = drained(writes, size)

    assert [record for batch in batches for record in batch] == expected
    assert [write for ended in finished for write in ended] == all_writes
    assert all(batches)


@given(SIZES.filter(bool), st.integers(400, 1_500))
async def test_a_write_is_finished_in_the_batch_that_holds_its_last_record(
    sizes: list[list[int]], size: int
) -> None:
    writes = writes_of(asyncio.get_running_loop(), sizes)
    batches, finished = drained(writes, size)
    for batch, ended in zip(batches, finished, strict=True):
        for write in ended:
            assert write.records[-1] in batch


async def test_a_write_that_nobody_waits_for_is_left_out() -> None:
    writes = writes_of(asyncio.get_running_loop(), [[10], [10, 10], [10]])
    writes[1].abandon()
    batches, _ = drained(writes, 10_000)
    assert [key for key, _ in batches[0]] == [b"0", b"2"]


async def test_a_write_that_was_given_up_halfway_is_not_gone_on_with() -> None:
    writes = writes_of(asyncio.get_running_loop(), [[300, 300, 300], [10]])
    first = writes[0]
    assert _fill(new_batch(500), writes) == []
    assert first.next == 1
    first.abandon()
    batches, _ = drained(writes, 500)
    assert [key for batch in batches for key, _ in batch] == [b"1"]


async def test_a_write_tells_once_how_it_went() -> None:
    loop = asyncio.get_running_loop()
    good, bad = writes_of(loop, [[1], [1]])
    good.succeed()
    good.fail(KafkaError())
    bad.fail(KafkaError())
    bad.succeed()
    assert good.done.exception() is None
    assert isinstance(bad.done.exception(), KafkaError)
