"""Decides on every event of a request: accepted, duplicate or rejected, and why. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast

import msgspec

from shared.binary_mode import BinaryEvent
from shared.event_data import content_digest, read_data
from shared.event_errors import InvalidEventError
from shared.events import CLOSELY, MAX_EVENT_BYTES, Event, Glance, TimeLimits, read_event
from shared.executions import EXECUTION_FINISHED, ExecutionEvent, read_executions
from shared.keys import Key


class Result(msgspec.Struct, frozen=True, gc=False):
    """What became of one event, in the order of the request."""

    id: str | None
    source: str | None
    verdict: Literal["accepted", "duplicate", "rejected"]
    code: str | None = None
    detail: str | None = None
    pointer: str | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The answer to `POST /v1/events`."""

    accepted: int
    duplicate: int
    rejected: int
    results: list[Result]


@dataclass(slots=True)
class Decision:
    """The verdicts of a request and the records that are to be written before it is answered."""

    results: list[Result] = field(default_factory=list)
    records: list[tuple[str, bytes]] = field(default_factory=list)
    """Customer (the record's key) and the event, structured; one that came so, byte for byte."""
    duplicates: int = 0

    def answer(self) -> Answer:
        """Count the verdicts."""
        accepted = len(self.records)
        rejected = len(self.results) - accepted - self.duplicates
        return Answer(accepted, self.duplicates, rejected, self.results)


class _NameOf(msgspec.Struct, gc=False):
    """Just enough of a rejected event to say which one it was."""

    id: object = None
    source: object = None


Unread = msgspec.Raw | bytes | BinaryEvent
"""An event as it came."""

_decode_name = msgspec.json.Decoder(_NameOf).decode


def decide(
    raws: Sequence[Unread],
    key: Key,
    limits: TimeLimits,
    now: datetime,
    glance: Glance = CLOSELY,
    batch: bytes | None = None,
) -> Decision:
    """Decide on all events of a request; a bad one never sinks the others.

    `glance` is what is known of the request's body, and `batch` that body where it is the array
    of the events: most are accepted whole, and that is decided in half the time.
    """
    if batch is not None and glance.plain and not glance.suspect:
        accepted = _decide_at_once(batch, cast("Sequence[msgspec.Raw]", raws), key, limits, now)
        if accepted is not None:
            return accepted
    decision = Decision()
    oldest, newest = limits.window(now)
    seen: dict[tuple[str, str], Event] = {}
    for raw in raws:
        try:
            if isinstance(raw, BinaryEvent):
                text, event = raw.text(), read_event(raw.text())
            else:
                text = bytes(raw)
                event = read_event(text, glance)
            read_data(event)
            if not oldest <= event.time <= newest:
                limits.check(event.time, now)
            _check_allowed(event, key)
        except InvalidEventError as error:
            decision.results.append(_rejected(raw, error))
            continue
        name = (event.source, event.id)
        first = seen.setdefault(name, event)
        if first is event:
            decision.records.append((event.subject, text))
            decision.results.append(Result(event.id, event.source, "accepted"))
        elif _same(first, event):
            decision.duplicates += 1
            decision.results.append(Result(event.id, event.source, "duplicate"))
        else:
            decision.results.append(
                Result(
                    event.id,
                    event.source,
                    "rejected",
                    "conflict",
                    "the request holds another event with this source and id",
                    "/id",
                )
            )
    return decision


def _decide_at_once(
    body: bytes, raws: Sequence[msgspec.Raw], key: Key, limits: TimeLimits, now: datetime
) -> Decision | None:
    """Accept a batch with nothing unusual in it, or give None where each has to be looked at.

    `body` is the batch, plain and without anything that may be a secret, and `raws` its events.
    """
    events = read_executions(body)
    if not events:
        return None
    if len(body) > MAX_EVENT_BYTES and max(len(bytes(raw)) for raw in raws) > MAX_EVENT_BYTES:
        return None
    times = [event.time for event in events]
    oldest, newest = limits.window(now)
    if min(times) < oldest or max(times) > newest or not _all_allowed(events, key):
        return None
    if len({(event.source, event.id) for event in events}) < len(events):
        return None
    return Decision(
        [Result(event.id, event.source, "accepted") for event in events],
        [(event.subject, bytes(raw)) for event, raw in zip(events, raws, strict=True)],
    )


def _all_allowed(events: Sequence[ExecutionEvent], key: Key) -> bool:
    return (
        (not key.sources or {event.source for event in events} <= key.sources)
        and (not key.customers or {event.subject for event in events} <= key.customers)
        and (not key.event_types or EXECUTION_FINISHED in key.event_types)
    )


def _check_allowed(event: Event, key: Key) -> None:
    if key.sources and event.source not in key.sources:
        raise InvalidEventError(
            "source_not_allowed", f"API key {key.id} may not send for this source", "/source"
        )
    if key.customers and event.subject not in key.customers:
        raise InvalidEventError(
            "customer_not_allowed", f"API key {key.id} may not send for this customer", "/subject"
        )
    if key.event_types and event.type not in key.event_types:
        raise InvalidEventError(
            "type_not_allowed", f"API key {key.id} may not send events of this type", "/type"
        )


def _same(first: Event, second: Event) -> bool:
    return _digest(first) == _digest(second)


def _digest(event: Event) -> bytes:
    return content_digest(event, read_data(event))


def _rejected(raw: Unread, error: InvalidEventError) -> Result:
    """Name the event as far as it can be read, but never echo one that holds a secret."""
    name = _NameOf()
    if error.code != "secret_in_payload":
        name = _name_of(raw)
    return Result(
        _short(name.id), _short(name.source), "rejected", error.code, error.detail, error.pointer
    )


def _name_of(raw: Unread) -> _NameOf:
    if isinstance(raw, BinaryEvent):
        return _NameOf(raw.id, raw.source)
    try:
        return _decode_name(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _NameOf()


def _short(value: object) -> str | None:
    return value[:256] if isinstance(value, str) else None
