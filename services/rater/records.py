"""Reads records of the log: each becomes an event to store or a dead letter. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from services.rater.batch import (
    Batch,
    DeadLetter,
    EventColumns,
    PartitionCount,
    Record,
    StoredEvent,
    Window,
)
from services.rater.metering import EventTypeMeters, Reading
from services.rater.plain_records import BY_INGEST, read_at_once
from shared.binary_mode import read_binary
from shared.event_data import canonical_data, digest_of, in_utc, read_data
from shared.event_errors import InvalidEventError
from shared.events import (
    CLOSELY,
    MAX_EVENT_BYTES,
    Glance,
    TimeLimits,
    glance_through,
    read_event,
)
from shared.executions import EXECUTION_FINISHED, in_one
from shared.secrets_guard import holds_secret
from shared.trace_context import TRACEPARENT, TRACESTATE

_TRACING = frozenset((TRACEPARENT, TRACESTATE))
_PREFIX = "ce_"
_MODES = ("application/cloudevents", "application/cloudevents+json")
_UNREAD = Reading((), (), ())
_EPOCH = datetime.fromtimestamp(0, UTC)


class RecordReader:
    """Reads a batch of records, whole or in parts; `batch` is what was read so far.

    `limits` bound an event's time by when the log received it.
    """

    def __init__(self, meters: dict[str, EventTypeMeters], limits: TimeLimits) -> None:
        self.batch = Batch()
        self._meters = meters
        self._limits = limits
        self._seen: dict[tuple[str, str], bytes] = {}

    def read(self, records: Sequence[Record]) -> EventColumns:
        """Read the next records of the topic, and give those of their events that repeat none."""
        for partition, number in Counter([record.partition for record in records]).items():
            place = records[0].topic, partition
            self.batch.counts.setdefault(place, PartitionCount()).records += number
        windows = self._windows_of(records)
        values = [record.value or b"" for record in records]
        text = in_one(values)
        glance = glance_through(text)
        events: EventColumns | None = None
        longest = max(map(len, values), default=0)
        if glance.plain and not glance.suspect and longest <= MAX_EVENT_BYTES:
            executions = self._meters.get(EXECUTION_FINISHED)
            events = read_at_once(records, text, windows, executions)
        if events is None or not self._are_new(events):
            events = EventColumns.of(self._read_each(records, windows, glance))
        self.batch.parts.append(events)
        return events

    def _windows_of(self, records: Sequence[Record]) -> dict[int, Window]:
        return {
            timestamp: _window(timestamp, self._limits)
            for timestamp in {record.timestamp for record in records}
        }

    def _are_new(self, events: EventColumns) -> bool:
        """Note the names of events, unless one repeats another or one that was read before."""
        names = zip(events.sources, events.ids, strict=True)
        digests = dict(zip(names, events.digests, strict=True))
        if len(digests) < len(events.ids) or not self._seen.keys().isdisjoint(digests):
            return False
        self._seen |= digests
        return True

    def _read_each(
        self, records: Sequence[Record], windows: Mapping[int, Window], glance: Glance
    ) -> list[StoredEvent]:
        batch, meters, limits = self.batch, self._meters, self._limits
        fresh: list[StoredEvent] = []
        for record in records:
            window = windows[record.timestamp]
            try:
                event = _read_record(record, window, meters, limits, glance)
            except InvalidEventError as error:
                self._count_of(record).dead_letters += 1
                batch.dead_letters.append(_dead_letter(record, window.received_at, error))
                continue
            digest = self._seen.setdefault((event.source, event.id), event.digest)
            if digest is event.digest:
                fresh.append(event)
            elif digest == event.digest:
                self._count_of(record).duplicates += 1
                batch.duplicates.append(event)
            else:
                self._count_of(record).conflicts += 1
                batch.conflicts.append(event)
        return fresh

    def _count_of(self, record: Record) -> PartitionCount:
        return self.batch.counts[record.topic, record.partition]


def _window(milliseconds: int, limits: TimeLimits) -> Window:
    """Read a record's time stamp; one that no clock can have had is the epoch's."""
    try:
        received_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
        return Window(received_at, *limits.window(received_at))
    except (OverflowError, OSError, ValueError):
        return Window(_EPOCH, *limits.window(_EPOCH))


def _read_record(
    record: Record,
    window: Window,
    meters: dict[str, EventTypeMeters],
    limits: TimeLimits,
    glance: Glance,
) -> StoredEvent:
    value, headers = record.value, record.headers
    if headers and (headers[0] != BY_INGEST or (len(headers) > 1 and not _by_ingest(headers))):
        value, glance = _structured(record), CLOSELY
    if value is None:
        raise InvalidEventError("invalid_json", "the record has no value")
    event = read_event(value, glance)
    if not window.oldest <= event.time <= window.newest:
        limits.check(event.time, window.received_at)
    time = in_utc(event.time)  # only now: the first and last days there are may have none in UTC
    data = read_data(event)
    of_type = meters.get(event.type)
    canonical = canonical_data(data)
    group, values, members = of_type.read(data) if of_type is not None else _UNREAD
    return StoredEvent(
        event.source,
        event.id,
        event.type,
        event.subject,
        time,
        canonical.decode(),
        digest_of(event.type, event.subject, time, canonical),
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
