"""A batch of records: what is read of each, and what it may become. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import compress
from typing import Any, NamedTuple, Protocol

from services.rater.metering import EventTypeMeters


class Record(Protocol):
    """What is read of a Kafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Window(NamedTuple):
    """When a record was received, and between which times its event may lie."""

    received_at: datetime
    oldest: datetime
    newest: datetime


class StoredEvent(NamedTuple):
    """An event ready for the events table, and what its meters need of it."""

    source: str
    id: str
    type: str
    customer_id: str
    time: datetime
    data: str
    digest: bytes
    partition: int
    offset: int
    received_at: datetime
    meters: EventTypeMeters | None
    group: tuple[str | None, ...]
    values: tuple[int | Decimal, ...]
    members: tuple[str | None, ...]

    @property
    def name(self) -> tuple[str, str]:
        """What makes the event one: its source and id."""
        return self.source, self.id


_AS_EVENT = partial(tuple.__new__, StoredEvent)
"""Makes an event of a tuple, without Python's own call for each."""


class EventColumns(NamedTuple):
    """Events by columns: what `StoredEvent` says of one, of all of them, in the same order.

    What is done to a whole column in one go costs a fraction of doing it event by event.
    """

    sources: Sequence[str]
    ids: Sequence[str]
    types: Sequence[str]
    customer_ids: Sequence[str]
    times: Sequence[datetime]
    data: Sequence[str]
    digests: Sequence[bytes]
    partitions: Sequence[int]
    offsets: Sequence[int]
    received_at: Sequence[datetime]
    meters: Sequence[EventTypeMeters | None]
    groups: Sequence[tuple[str | None, ...]]
    values: Sequence[tuple[int | Decimal, ...]]
    members: Sequence[tuple[str | None, ...]]

    @classmethod
    def of(cls, events: Sequence[StoredEvent]) -> "EventColumns":
        """Sort events into columns."""
        return cls(*(zip(*events, strict=True) if events else ((),) * len(cls._fields)))

    def where(self, chosen: Sequence[bool]) -> "EventColumns":
        """Give those of the events that are chosen."""
        columns: Iterable[Any] = (list(compress(column, chosen)) for column in self)
        return EventColumns(*columns)

    def events(self) -> list[StoredEvent]:
        """Give the events one by one."""
        return list(map(_AS_EVENT, zip(*self, strict=True)))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that is no event we can take, and why; `payload` is None where it is secret."""

    topic: str
    partition: int
    offset: int
    received_at: datetime
    key: bytes | None
    payload: bytes | None
    headers: list[list[str]]
    code: str
    detail: str
    pointer: str | None


@dataclass(slots=True)
class PartitionCount:
    """What became of one partition's records in a batch."""

    records: int = 0
    duplicates: int = 0
    conflicts: int = 0
    dead_letters: int = 0

    @property
    def stored(self) -> int:
        """Records that became rows of the events table."""
        return self.records - self.duplicates - self.conflicts - self.dead_letters


@dataclass(slots=True)
class Batch:
    """A batch of records, read: each is in one of the lists.

    `duplicates` and `conflicts` repeat the source and id of an event that came before them.
    """

    parts: list[EventColumns] = field(default_factory=list)
    duplicates: list[StoredEvent] = field(default_factory=list)
    conflicts: list[StoredEvent] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: dict[tuple[str, int], PartitionCount] = field(default_factory=dict)

    @property
    def events(self) -> list[StoredEvent]:
        """The events to store, one by one."""
        return [event for part in self.parts for event in part.events()]

    def drop(self, known: dict[tuple[str, str], bytes], topic: str) -> None:
        """Take out the events that the database holds already (name to content digest).

        Those with equal content are duplicates, the others conflicts (I3). Repeats within the
        batch are judged anew by what the database holds, as if each had come alone.
        """
        repeats = [*self.events, *self.duplicates, *self.conflicts]
        events, self.duplicates, self.conflicts = (
            [event for event in events if event.name not in known]
            for events in (self.events, self.duplicates, self.conflicts)
        )
        self.parts = [EventColumns.of(events)]
        for event in repeats:
            if event.name in known:
                same = known[event.name] == event.digest
                (self.duplicates if same else self.conflicts).append(event)
        self._count_repeats(topic)

    def _count_repeats(self, topic: str) -> None:
        for count in self.counts.values():
            count.duplicates = count.conflicts = 0
        for event in self.duplicates:
            self.counts[topic, event.partition].duplicates += 1
        for event in self.conflicts:
            self.counts[topic, event.partition].conflicts += 1


def place_of(run: Sequence[Record]) -> tuple[str, int]:
    """Name the topic and partition of a run of records, which is the same for all of them."""
    return run[0].topic, run[0].partition


def next_offsets(runs: Iterable[Sequence[Record]]) -> dict[tuple[str, int], int]:
    """Give the offset after the last record of each partition; each run is of one partition."""
    return {place_of(run): run[-1].offset + 1 for run in runs}
