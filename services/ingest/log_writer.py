"""Writes events to Kafka and tells when Kafka holds them.

One task a partition gathers what waits there into one batch while the batch before it is
under way: few, large batches under load, no delay without. The producer is idempotent with
acks=all, so a retry inside it writes nothing twice.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from prometheus_client import Counter, Gauge

from services.ingest.tracing import Headers
from services.ingest.waiting import WaitingEvents
from shared.errors import UnavailableError
from shared.events import STRUCTURED
from shared.kafka_access import kafka_client
from shared.settings import Settings
from shared.web import wait_until

_BATCH_BYTES = 512_000
_HEADERS: Headers = [("content-type", STRUCTURED)]
_MAX_CACHED_KEYS = 100_000

PENDING = Gauge("tallybook_ingest_pending_events", "Events that wait for Kafka's ack")
WRITTEN = Counter("tallybook_ingest_written_events", "Events that Kafka has acknowledged")

log = structlog.get_logger("tallybook.ingest")


class LogUnavailableError(UnavailableError):
    """The events could not be written to Kafka in time; the producer should send them again."""

    code = "log_unavailable"


_Record = tuple[bytes, bytes]
"""A key, the customer, and the event as it came."""


class _Write:
    """The records of one request for one partition; `next` is the first not yet in a batch."""

    __slots__ = ("done", "headers", "next", "records")

    def __init__(self, records: list[_Record], done: asyncio.Future[None]) -> None:
        self.records = records
        self.next = 0
        self.done = done
        self.headers = _HEADERS

    def succeed(self) -> None:
        """Tell the request that Kafka holds these records."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: KafkaError) -> None:
        """Tell the request that these records may not be on the log."""
        if not self.done.done():
            self.done.set_exception(error)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the records: nobody waits for them any more."""
        self.done.cancel()
        self.records = []


class LogWriter:
    """The way to the usage topic, with a bound on what may wait."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.usage_topic
        self._producer: AIOKafkaProducer | None = None
        self._queues: list[asyncio.Queue[_Write]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._replacing: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._waiting = WaitingEvents(settings.max_pending_events)
        self._partition_of: dict[str, tuple[bytes, int]] = {}
        self._failing_since: float | None = None

    @property
    def ready(self) -> bool:
        """Tell whether Kafka was reached and took what it was last given."""
        return self._producer is not None and self._failing_since is None

    async def open(self) -> None:
        """Reach Kafka, waiting as long as it takes, then start to write."""
        producer = await self._new_producer()
        partitions = await producer.partitions_for(self._topic)
        self._partition_of.clear()
        self._queues = [asyncio.Queue() for _ in partitions]
        self._producer = producer
        self._tasks = [
            asyncio.create_task(self._write_partition(partition))
            for partition in range(len(partitions))
        ]

    async def _new_producer(self) -> AIOKafkaProducer:
        """Start a producer that knows the topic, waiting as long as it takes."""
        started: list[AIOKafkaProducer] = []

        async def reach() -> bool:
            try:
                started.append(await self._start_producer())
            except KafkaError as error:
                log.warning("waiting for Kafka", error=type(error).__name__)
                return False
            return True

        await wait_until(reach, longest=1.0)
        return started[0]

    async def _start_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **kafka_client(self._settings),
            enable_idempotence=True,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=4 * _BATCH_BYTES,
            request_timeout_ms=int(self._settings.kafka_ack_seconds * 1000),
            retry_backoff_ms=50,
        )
        try:
            await producer.start()
            await producer.partitions_for(self._topic)
        except BaseException:
            await _stop(producer)
            raise
        return producer

    def _replace(self, spent: AIOKafkaProducer) -> None:
        """Let a new producer take the place of one that Kafka takes nothing more from."""
        if self._producer is spent and (self._replacing is None or self._replacing.done()):
            self._replacing = asyncio.create_task(self._replace_producer(spent))

    async def _replace_producer(self, spent: AIOKafkaProducer) -> None:
        self._producer = await self._new_producer()
        log.warning("a new producer writes to Kafka from now on")
        stopping = asyncio.create_task(_stop(spent))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def close(self) -> None:
        """Stop taking events; those under way are finished by the producer."""
        tasks = [*self._tasks, *self._stopping, *([self._replacing] if self._replacing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def write(
        self, records: Sequence[tuple[str, bytes]], key_id: str, trace: Headers | None = None
    ) -> None:
        """Write a key's (customer, event) records and return once Kafka holds all of them.

        `trace` are headers for them to carry beside ingest's own.

        Raises `TooManyWaitingError` when too much waits already, and `LogUnavailableError`
        when Kafka is away or takes too long. Some of the records may then be on the log
        nevertheless; sending them again does no harm, as the rater takes each (source, id) once.
        """
        if self._producer is None:
            raise LogUnavailableError("Kafka is not reached yet; send the request again")
        loop = asyncio.get_running_loop()
        known = self._partition_of.get
        shares: dict[int, list[_Record]] = {}
        for customer, event in records:
            key, partition = known(customer) or self._place(customer)
            if partition in shares:
                shares[partition].append((key, event))
            else:
                shares[partition] = [(key, event)]
        writes = {
            partition: _Write(share, loop.create_future()) for partition, share in shares.items()
        }
        self._waiting.enter(key_id, len(records))
        PENDING.set(self._waiting.total)
        for partition, write in writes.items():
            if trace:
                write.headers = [*_HEADERS, *trace]
            self._queues[partition].put_nowait(write)
        try:
            await self._all_done(writes.values(), loop)
        finally:
            for write in writes.values():
                write.abandon()
            self._waiting.leave(key_id, len(records))
            PENDING.set(self._waiting.total)

    async def _all_done(self, writes: Iterable[_Write], loop: asyncio.AbstractEventLoop) -> None:
        deadline = loop.time() + self._settings.kafka_ack_seconds
        if self._failing_since is not None:
            # Kafka is known to be away: ask only briefly whether it is back.
            deadline = loop.time() + min(0.9, self._settings.kafka_ack_seconds)
        try:
            async with asyncio.timeout_at(deadline):
                for write in writes:
                    await write.done
        except TimeoutError:
            self._failing_since = self._failing_since or loop.time()
            raise LogUnavailableError("Kafka did not acknowledge in time; send again") from None
        except KafkaError as error:
            self._failing_since = self._failing_since or loop.time()
            raise LogUnavailableError(
                f"Kafka refused the write ({type(error).__name__}); send the request again"
            ) from None

    def _place(self, customer: str) -> tuple[bytes, int]:
        """Find a customer's partition the way the Java client does, and remember it."""
        key = customer.encode()
        if len(self._partition_of) >= _MAX_CACHED_KEYS:
            self._partition_of.clear()
        partition = (murmur2(key) & 0x7FFFFFFF) % len(self._queues)
        placed = self._partition_of[customer] = (key, partition)
        return placed

    async def _write_partition(self, partition: int) -> None:
        """Write what waits for a partition, one batch after the other, for ever.

        An error that no retry mends ends the producer: once a batch that never left was given
        up, its count of the partition's batches is ahead of Kafka's, which then refuses all.
        """
        queue = self._queues[partition]
        waiting: deque[_Write] = deque()
        while True:
            if not waiting:
                waiting.append(await queue.get())
            while not queue.empty():
                waiting.append(queue.get_nowait())
            producer = self._producer
            assert producer is not None
            batch = producer.create_batch()
            finished = _fill(batch, waiting)
            if not batch.record_count():
                continue
            started = [*finished, *([waiting[0]] if waiting and waiting[0].next else [])]
            try:
                await (await producer.send_batch(batch, self._topic, partition=partition))
            except KafkaError as error:
                for write in started:
                    write.fail(error)
                if not error.retriable:
                    self._replace(producer)
            else:
                self._failing_since = None
                WRITTEN.inc(batch.record_count())
                for write in finished:
                    write.succeed()


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer whose last words do not matter; it waits for what it still has to write."""
    with contextlib.suppress(KafkaError):
        await producer.stop()


def _fill(batch: BatchBuilder, waiting: deque[_Write]) -> list[_Write]:
    """Move waiting records into the batch until it is full; give the writes wholly moved.

    A write that did not fit whole stays first in `waiting`, its `next` record marked.
    """
    finished: list[_Write] = []
    append = batch.append
    while waiting:
        write = waiting[0]
        if not write.done.done():
            before = batch.record_count()
            for key, value in islice(write.records, write.next, None):
                if append(key=key, value=value, timestamp=None, headers=write.headers) is None:
                    write.next += batch.record_count() - before
                    return finished
            finished.append(write)
        waiting.popleft()
    return finished
