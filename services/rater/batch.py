"""A batch of records: what is read of each, and what it may become. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple, Protocol

from services.rater.metering import EventTypeMeters

OFFSET: Callable[["Record"], int] = attrgetter("offset")
PLACE: Callable[["Record"], tuple[str, int]] = attrgetter("topic", "partition")


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

    events: list[StoredEvent] = field(default_factory=list)
    duplicates: list[StoredEvent] = field(default_factory=list)
    conflicts: list[StoredEvent] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    counts: dict[tuple[str, int], PartitionCount] = field(default_factory=dict)

    def drop(self, known: dict[tuple[str, str], bytes], topic: str) -> None:
        """Take out the events that the database holds already (name to content digest).

        Those with equal content are duplicates, the others conflicts (I3). Repeats within the
        batch are judged anew by what the database holds, as if each had come alone.
        """
        repeats = [*self.events, *self.duplicates, *self.conflicts]
        self.events, self.duplicates, self.conflicts = (
            [event for event in events if event.name not in known]
            for events in (self.events, self.duplicates, self.conflicts)
        )
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


def next_offsets(records: Sequence[Record]) -> dict[tuple[str, int], int]:
    """Give the offset after the last record of each partition."""
    last = dict(zip(map(PLACE, records), map(OFFSET, records), strict=True))
    return {place: offset + 1 for place, offset in last.items()}
