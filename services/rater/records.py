"""Reads records of the log: each becomes an event to store or a dead letter. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import NamedTuple, Protocol

from services.rater.metering import EventTypeMeters, Reading
from shared.binary_mode import read_binary
from shared.events import (
    CLOSELY,
    STRUCTURED,
    Glance,
    InvalidEventError,
    TimeLimits,
    canonical_data,
    content_digest,
    glance_through,
    in_utc,
    read_data,
    read_event,
)
from shared.secrets_guard import holds_secret
from shared.trace_context import TRACEPARENT, TRACESTATE

_BY_INGEST = ("content-type", STRUCTURED)
"""The one header of a record that ingest wrote, unless its request was traced."""
_TRACING = frozenset((TRACEPARENT, TRACESTATE))
_PREFIX = "ce_"
_MODES = ("application/cloudevents", "application/cloudevents+json")
_UNREAD = Reading((), (), ())
_EPOCH = datetime.fromtimestamp(0, UTC)
_OFFSET: Callable[["Record"], int] = attrgetter("offset")
_PLACE: Callable[["Record"], tuple[str, int]] = attrgetter("topic", "partition")


class Record(Protocol):
    """What is read of a Kafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


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


class _Window(NamedTuple):
    """When a record was received, and between which times its event may lie."""

    received_at: datetime
    oldest: datetime
    newest: datetime


class RecordReader:
    """Reads a batch of records, whole or in parts; `batch` is what was read so far.

    `limits` bound an event's time by when the log received it.
    """

    def __init__(self, meters: dict[str, EventTypeMeters], limits: TimeLimits) -> None:
        self.batch = Batch()
        self._meters = meters
        self._limits = limits
        self._seen: dict[tuple[str, str], bytes] = {}
        self._windows: dict[int, _Window] = {}

    def read(self, records: Sequence[Record]) -> list[StoredEvent]:
        """Read the next records, and give those of their events that repeat none before."""
        batch, meters, limits = self.batch, self._meters, self._limits
        glance = glance_through(b"".join([record.value or b"" for record in records]))
        fresh: list[StoredEvent] = []
        for place, number in Counter(map(_PLACE, records)).items():
            batch.counts.setdefault(place, PartitionCount()).records += number
        for record in records:
            window = self._windows.get(record.timestamp)
            if window is None:
                window = self._windows[record.timestamp] = _window(record.timestamp, limits)
            try:
                event = _read_record(record, window, meters, limits, glance)
            except InvalidEventError as error:
                batch.counts[_PLACE(record)].dead_letters += 1
                batch.dead_letters.append(_dead_letter(record, window.received_at, error))
                continue
            digest = self._seen.setdefault((event.source, event.id), event.digest)
            if digest is event.digest:
                fresh.append(event)
            elif digest == event.digest:
                batch.counts[_PLACE(record)].duplicates += 1
                batch.duplicates.append(event)
            else:
                batch.counts[_PLACE(record)].conflicts += 1
                batch.conflicts.append(event)
        batch.events += fresh
        return fresh


def _window(milliseconds: int, limits: TimeLimits) -> _Window:
    """Read a record's time stamp; one that no clock can have had is the epoch's."""
    try:
        received_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
        return _Window(received_at, *limits.window(received_at))
    except (OverflowError, OSError, ValueError):
        return _Window(_EPOCH, *limits.window(_EPOCH))


def next_offsets(records: Sequence[Record]) -> dict[tuple[str, int], int]:
    """Give the offset after the last record of each partition."""
    last = dict(zip(map(_PLACE, records), map(_OFFSET, records), strict=True))
    return {place: offset + 1 for place, offset in last.items()}


def _read_record(
    record: Record,
    window: _Window,
    meters: dict[str, EventTypeMeters],
    limits: TimeLimits,
    glance: Glance,
) -> StoredEvent:
    value, headers = record.value, record.headers
    if headers and (headers[0] != _BY_INGEST or (len(headers) > 1 and not _by_ingest(headers))):
        value, glance = _structured(record), CLOSELY
    if value is None:
        raise InvalidEventError("invalid_json", "the record has no value")
    event = read_event(value, glance)
    time = in_utc(event.time)
    if not window.oldest <= time <= window.newest:
        limits.check(time, window.received_at)
    data = read_data(event)
    of_type = meters.get(event.type)
    group, values, members = of_type.read(data) if of_type is not None else _UNREAD
    return StoredEvent(
        event.source,
        event.id,
        event.type,
        event.subject,
        time,
        canonical_data(data).decode(),
        content_digest(event, data),
        record.partition,
        record.offset,
        window.received_at,
        of_type,
        group,
        values,
        members,
    )


def _by_ingest(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Tell whether headers are those of ingest and of a trace, and no others."""
    for name, _ in headers[1:]:  # noqa: SIM110  # a generator takes twice as long
        if name not in _TRACING:
            return False
    return True


def _structured(record: Record) -> bytes | None:
    """Give the event in structured form, whichever of the two modes the headers say it has.

    Without headers of an event, and without a content type, the value is a structured event.
    """
    content_type: str | None = None
    attributes: list[tuple[str, bytes]] = []
    for name, value in record.headers:
        if name.startswith(_PREFIX):
            attributes.append((name[len(_PREFIX) :], value or b""))
        elif name.lower() == "content-type":
            content_type = (value or b"").decode("utf-8", "replace").strip()
    media_type = (content_type or "").partition(";")[0].rstrip().lower()
    if media_type in _MODES or not (media_type or attributes):
        return record.value
    if media_type.startswith("application/cloudevents"):
        detail = f"write events as {_MODES[1]}, one a record, or in binary mode"
        raise InvalidEventError("unsupported_format", detail)
    return read_binary(attributes, content_type or None, record.value).text()


def _dead_letter(record: Record, received_at: datetime, error: InvalidEventError) -> DeadLetter:
    """Keep the record as it is, unless it holds a secret, of which nothing is kept."""
    key = record.key or b""
    headers = [
        [_storable(name), _storable((value or b"").decode("utf-8", "replace"))]
        for name, value in record.headers
    ]
    secret = (
        error.code == "secret_in_payload"
        or holds_secret(record.value or b"")
        or holds_secret(key)
        or holds_secret(str(headers).encode())
    )
    return DeadLetter(
        record.topic,
        record.partition,
        record.offset,
        received_at,
        None if secret else record.key,
        None if secret else record.value,
        [] if secret else headers,
        error.code,
        _storable(error.detail),
        error.pointer,
    )


def _storable(text: str) -> str:
    """Write a NUL, which Postgres has no place for in a text, as a replacement character."""
    return text.replace("\0", "\ufffd")
