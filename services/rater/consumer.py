"""Consumes the usage topic: from Kafka to `Rating`, with the offsets of Postgres.

The offsets in Postgres are the truth; Kafka's are never committed. On assignment every
partition is paused at once, its offset looked up, sought and only then resumed, as a seek
without the pause lets records through first (aiokafka #738). Should records come that do not
follow the known offset all the same, they are not handled: the partition is sought again.

Offsets may be missing from the log: a transaction's marker has one and is no record. So with
the records that were fetched stands from where on the log was read for them, and they are
handled where the books' offset lies between that and the last of them.
"""

import asyncio
import os
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.subscriber.usecase import BatchSubscriber
from prometheus_client import Gauge

from services.rater.batch import next_offsets, place_of
from services.rater.gaps import end_of_gap, move_past_gap
from services.rater.ledger import FencedError
from services.rater.rating import Rating
from shared.database import TRANSIENT, Pool
from shared.logs import name_error
from shared.settings import Settings

log = structlog.get_logger("tallybook.rater")

BEHIND = Gauge("tallybook_rater_behind_records", "Records of its partitions not handled yet")

_FETCH_BYTES = 8_000_000

_FETCH_RECORDS = 2_500
"""Records that are fetched in one go; anything else has to wait for so long."""

_WAIT_MS = 50


class Run(NamedTuple):
    """Records of one partition: all that its log holds from an offset on to the last of them."""

    begins: int
    records: list[ConsumerRecord]


class Positions:
    """Where each assigned partition stands, as Postgres says; the listener keeps it so."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.next: dict[tuple[str, int], int] = {}
        self._read: dict[tuple[str, int], int] = {}
        self._sought: set[tuple[str, int]] = set()
        self._gaps: dict[tuple[str, int], tuple[int, int]] = {}

    async def look_up(self, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Read the partitions' offsets; those that are new start at the log's `first`."""
        for partition, offset in first.items():
            await self.pool.execute(
                "INSERT INTO offsets (topic, partition, next) VALUES ($1, $2, $3)"
                " ON CONFLICT DO NOTHING",
                partition.topic,
                partition.partition,
                offset,
            )
        rows = await self.pool.fetch("SELECT topic, partition, next FROM offsets")
        known = {(row["topic"], row["partition"]): row["next"] for row in rows}
        return {partition: known[partition.topic, partition.partition] for partition in first}

    def start(self, place: tuple[str, int], offset: int) -> None:
        """Note where a partition stands in the books, from where on its log is read now."""
        self.next[place] = self._read[place] = offset
        self._sought.add(place)

    def knows(self, place: tuple[str, int]) -> bool:
        """Tell whether a partition's log is read from its right place."""
        return place in self._read

    def take(self, records: list[ConsumerRecord]) -> Run | None:
        """Make a run of the records that were fetched next, or give None: they do not follow.

        What is fetched without a break follows what came before, even beyond a gap. The first
        records after a seek must be those that were sought; where the log has a gap just there,
        that is believed when they come a second time.
        """
        place, first = place_of(records), records[0].offset
        begins = self._read[place]
        if first < begins:
            return None
        if place in self._sought and first > begins and self._gaps.get(place) != (begins, first):
            self._gaps[place] = (begins, first)
            return None
        self._sought.discard(place)
        self._gaps.pop(place, None)
        self._read[place] = records[-1].offset + 1
        return Run(begins, records)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions out that are no longer ours, or must be looked up again."""
        for partition in partitions:
            place = (partition.topic, partition.partition)
            self.next.pop(place, None)
            self._read.pop(place, None)

    def doubt(self) -> list[TopicPartition]:
        """Believe in no gap any more, as records were lost on the way; name all partitions."""
        self._gaps.clear()
        return [TopicPartition(*place) for place in sorted(self._read)]


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Pauses, looks up, seeks and resumes what the group assigns."""

    def __init__(self, consumer: "UsageConsumer") -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Forget what is another's now."""
        self._consumer.positions.forget(list(revoked))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Pause at once, before the first await; the seek then happens in the background."""
        self._consumer.start_from_books(sorted(assigned))


class UsageConsumer:
    """The subscriber of the usage topic."""

    def __init__(self, settings: Settings, broker: KafkaBroker) -> None:
        self._settings = settings
        self._rating: Rating | None = None
        self._positions: Positions | None = None
        self._seeking: set[asyncio.Task[None]] = set()
        self._behind: dict[TopicPartition, int] = {}
        self._ahead: asyncio.Task[list[Run]] | None = None
        self._subscriber: Any = broker.subscriber(
            settings.usage_topic,
            # A group for each topic: installations that share a Kafka keep out of each other's.
            group_id=f"tallybook-rater.{settings.usage_topic}",
            group_instance_id=settings.rater_instance,
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            max_poll_interval_ms=600_000,
            listener=Assignment(self),
            parser=self._parse,
            decoder=_decode,
        )
        assert isinstance(self._subscriber, BatchSubscriber)
        cast("Any", self._subscriber).get_msg = self._get_runs  # FastStream has no hook for it
        self._subscriber(self._handle)

    def use(self, rating: Rating, pool: Pool) -> None:
        """Hand over what the records go to; call it before the broker starts."""
        self._rating = rating
        self._positions = Positions(pool)

    @property
    def positions(self) -> Positions:
        """The partitions' positions."""
        assert self._positions is not None
        return self._positions

    @property
    def assigned(self) -> bool:
        """Tell whether any partition is being read from its right place."""
        return self._positions is not None and bool(self._positions.next)

    def start_from_books(self, partitions: Sequence[TopicPartition]) -> None:
        """Pause partitions now, and seek them to the offsets in Postgres in the background."""
        if not partitions:
            return
        consumer: AIOKafkaConsumer = self._subscriber.consumer
        consumer.pause(*partitions)
        self.positions.forget(partitions)
        task = asyncio.create_task(self._seek(consumer, partitions))
        self._seeking.add(task)
        task.add_done_callback(self._seeking.discard)

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        delay = 0.1
        while True:
            try:
                first = await consumer.beginning_offsets(partitions)
                offsets = await self.positions.look_up(first)
                # Asked for last: whoever had the partitions before may still move the books.
                end = await consumer.end_offsets(partitions)
                break
            except (*TRANSIENT, KafkaError) as error:
                log.warning("waiting for the offsets", error=type(error).__name__)
            except Exception:
                log.exception("the offsets could not be read; trying again")
            await asyncio.sleep(delay)
            delay = min(5.0, delay * 2)
        ours = consumer.assignment()
        for partition, offset in offsets.items():
            if partition not in ours:
                continue
            if not first[partition] <= offset <= end[partition]:
                _give_up(
                    f"partition {partition.partition} of {partition.topic} holds offsets"
                    f" {first[partition]} to {end[partition]}, but the books stand at {offset}:"
                    " records were lost, or the topic was made anew"
                )
            consumer.seek(partition, offset)
            self.positions.start(partition, offset)
            consumer.resume(partition)

    async def pass_gaps(self) -> None:
        """Take the books past the markers at the end of a log; call it every second or so.

        A partition is looked at when it stood behind the log's end, at the same offset, at the
        call before too. Another reader must then find that no record is there; where one came
        in the meantime, the compare-and-set refuses the move.
        """
        behind = self._partitions_behind()
        for partition, offset in behind.items():
            if self._behind.get(partition) != offset:
                continue
            try:
                end = await end_of_gap(self._settings, partition, offset)
            except KafkaError as error:
                log.warning("waiting for Kafka", error=type(error).__name__)
                return
            if end is not None and await move_past_gap(self.positions.pool, partition, offset, end):
                self.start_from_books([partition])
        self._behind = behind

    def _partitions_behind(self) -> dict[TopicPartition, int]:
        """Give the offsets of the partitions that stand before the end of the log; count them."""
        consumer: AIOKafkaConsumer | None = self._subscriber.consumer
        if consumer is None or self._positions is None:
            return {}
        behind = {}
        records = 0
        for place, offset in self._positions.next.items():
            partition = TopicPartition(*place)
            if partition in consumer.assignment():
                end = consumer.highwater(partition)
                if end is not None and end > offset:
                    behind[partition] = offset
                    records += end - offset
        BEHIND.set(records)
        return behind

    async def _get_runs(self, consumer: AIOKafkaConsumer) -> list[Run]:
        """Fetch records; stop where aiokafka cannot read one, which it would try for ever.

        It reads a header's name as UTF-8, which Kafka does not ask for, and says of no record
        where it stands. Without a word and at full speed nothing would be rated any more.
        """
        try:
            ahead, self._ahead = self._ahead, None
            runs = [] if ahead is None else await ahead
            return await self._fetch(consumer, runs, _WAIT_MS)
        except ConsumerStoppedError:
            raise
        except KafkaError:
            # What was fetched just before is lost, and aiokafka would go on after it.
            self.start_from_books(self.positions.doubt())
            raise
        except Exception as error:
            places = ", ".join(
                f"{offset} of partition {partition} of {topic}"
                for (topic, partition), offset in sorted(self.positions.next.items())
            )
            _give_up(
                f"a record cannot be read ({name_error(error)}); it stands at or after"
                f" one of the offsets {places}. Take it off the log, or move the row of `offsets`"
                " past it"
            )

    async def _fetch(
        self, consumer: AIOKafkaConsumer, runs: list[Run], wait_ms: int = 0
    ) -> list[Run]:
        """Add to `runs` what is there, up to a batch; wait for some where there is none."""
        most = self._settings.rater_batch_records
        fetched = sum(len(run.records) for run in runs)
        while fetched < most:
            found: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
                timeout_ms=0 if runs else wait_ms, max_records=min(_FETCH_RECORDS, most - fetched)
            )
            if not found:
                break
            fetched += sum(map(len, found.values()))
            runs += self._taken(found)
            await asyncio.sleep(0)
        return runs

    def _taken(self, found: Mapping[TopicPartition, list[ConsumerRecord]]) -> list[Run]:
        """Make runs of what was fetched; seek again where it does not follow."""
        positions = self.positions
        # Those that are not looked up yet come again once they are.
        known = {one: records for one, records in found.items() if positions.knows(one)}
        taken = {partition: positions.take(records) for partition, records in known.items()}
        self.start_from_books([partition for partition, run in taken.items() if run is None])
        return [run for run in taken.values() if run is not None]

    def _read_ahead(self) -> None:
        """Fetch what comes next while nothing else is to be done."""
        if self._ahead is not None:
            return  # it was begun at an earlier try
        self._ahead = asyncio.create_task(self._fetch(self._subscriber.consumer, []))
        # Where the consumer is stopped, nobody asks for it any more.
        self._ahead.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _parse(self, runs: list[Run]) -> KafkaMessage:
        """Pass the records on as they are: FastStream's own parsing costs more than rating."""
        return KafkaMessage(
            body=runs, raw_message=runs[0].records, consumer=self._subscriber.consumer
        )

    async def _handle(self, runs: list[Run]) -> None:
        """Handle a batch. No exception leaves it: FastStream would go on to the next batch."""
        try:
            ready = self._in_order(runs)
            if ready:
                await self._post(ready)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the rater stops: it cannot go on without losing events")
            _give_up(f"unexpected while rating: {name_error(error)}")

    def _in_order(self, runs: Sequence[Run]) -> list[list[ConsumerRecord]]:
        """Give the records that come next; seek again where something is missing before them."""
        expected = dict(self.positions.next)
        ready: list[list[ConsumerRecord]] = []
        strays: set[tuple[str, int]] = set()
        for run in runs:
            place = place_of(run.records)
            if place not in expected:
                continue  # it was given away, or is sought again
            unhandled = _from(run.records, expected[place])
            if not unhandled:
                continue
            if expected[place] < run.begins:
                strays.add(place)
            ready.append(unhandled)
            expected[place] = unhandled[-1].offset + 1
        self.start_from_books([TopicPartition(*place) for place in sorted(strays)])
        return [records for records in ready if place_of(records) not in strays]

    async def _post(self, runs: list[list[ConsumerRecord]]) -> None:
        """Post records, trying again for as long as Postgres is away."""
        assert self._rating is not None
        delay = 0.1
        while runs:
            known = {place: self.positions.next[place] for place in next_offsets(runs)}
            try:
                moved = await self._rating.handle(runs, known, self._read_ahead)
            except FencedError:
                log.warning("another rater was here; starting again from the books")
                self.start_from_books([TopicPartition(*place) for place in sorted(known)])
                return
            except TRANSIENT as error:
                if isinstance(error, ValueError):
                    raise  # what cannot be written to Postgres will not be at another try
                log.warning("postgres is away; trying again", error=type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(5.0, delay * 2)
                runs = self._still_to_do(runs)
            else:
                for place, offset in moved.items():
                    if place in self.positions.next:
                        self.positions.next[place] = offset
                return

    def _still_to_do(self, runs: Sequence[list[ConsumerRecord]]) -> list[list[ConsumerRecord]]:
        """Leave out what was lost with its partition, or handled by another, in the meantime."""
        known = self.positions.next
        ours = [run for run in runs if place_of(run) in known]
        left = [_from(run, known[place_of(run)]) for run in ours]
        return [run for run in left if run]


_OFFSET = attrgetter("offset")


def _from(records: list[ConsumerRecord], offset: int) -> list[ConsumerRecord]:
    """Give the records from an offset on."""
    return records[bisect_left(records, offset, key=_OFFSET) :]


async def _decode(message: KafkaMessage) -> list[Run]:
    body: Any = message.body
    runs: list[Run] = body
    return runs


def _give_up(reason: str) -> NoReturn:
    """End the process at once, with a clear last word; whoever supervises it decides.

    Nothing is lost by it: what was not committed is read again from the books' offsets.
    """
    log.critical("the rater stops", reason=reason)
    sys.stderr.flush()
    os._exit(1)
