"""The event contract: CloudEvents 1.0 in JSON, and the execution event. Pure.

Ingest reads events with this before it writes them to the log; the rater reads them again
with the very same code, as a producer may write to the log without ingest.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple

import msgspec

from shared.event_attributes import NAMES, attribute_value, check_extensions, refuse_unprintable
from shared.event_errors import InvalidEventError, secret_found, unreadable
from shared.executions import (
    EXECUTION_FINISHED,
    Execution,
    ExecutionEvent,
    Name,
    TraceText,
    is_plain,
    read_execution,
)
from shared.secrets_guard import holds_secret, may_hold_secret

STRUCTURED = b"application/cloudevents+json; charset=UTF-8"
"""The content type of a structured event on the log (CloudEvents' Kafka binding)."""

_PLAIN_NAMES = (*NAMES, "traceparent", "tracestate")
_JSON_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]+/(?:json|[a-z0-9!#$&^_.-]+\+json)"
    r"(?:\s*;\s*charset\s*=\s*\"?(?:utf-?8|us-ascii)\"?)?\s*",
    re.IGNORECASE,
)
MAX_EVENT_BYTES = 64_000


class CloudEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it came: the attributes that Tallybook reads, and its data unread.

    `subject` is the customer. `time` is when it happened, and decides what it costs.
    """

    specversion: Literal["1.0"]
    id: Name
    source: Name
    type: Name
    subject: Name
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    data: msgspec.Raw
    datacontenttype: str | None = "application/json"


class _PlainEvent(CloudEvent, frozen=True, gc=False, forbid_unknown_fields=True):
    """An event without extensions other than these short ones: most are, and read faster so."""

    traceparent: TraceText = ""
    tracestate: TraceText = ""


Event = CloudEvent | ExecutionEvent
"""An event that was read: its data still unread, or read whole with it."""


class TimeLimits:
    """How old an event may be, and how far in the future, when it is received."""

    def __init__(self, max_age_days: int, max_skew_seconds: int) -> None:
        self._max_age = timedelta(days=max_age_days)
        self._max_skew = timedelta(seconds=max_skew_seconds)

    def check(self, time: datetime, received_at: datetime) -> None:
        """Raise `InvalidEventError` (`too_old`, `in_the_future`) for a time out of bounds."""
        oldest, newest = self.window(received_at)
        if time < oldest:
            detail = f"events before {oldest:%FT%TZ} are not taken"
            raise InvalidEventError("too_old", detail, "/time")
        if time > newest:
            raise InvalidEventError("in_the_future", f"the time is after {newest:%FT%TZ}", "/time")

    def window(self, received_at: datetime) -> tuple[datetime, datetime]:
        """Give the oldest and the newest time that an event received then may have."""
        return received_at - self._max_age, received_at + self._max_skew


_decode_plain = msgspec.json.Decoder(_PlainEvent).decode
_decode_event = msgspec.json.Decoder(CloudEvent).decode
_decode_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_execution = msgspec.json.Decoder(Execution).decode


class Glance(NamedTuple):
    """What one look through a text of many events says of each of them.

    To look once through all of them costs a fraction of what it costs to look at each.
    """

    suspect: bool = True
    """Some of it may hold a secret: `holds_secret` has to be asked of each."""
    plain: bool = False
    """All of it is printable ASCII without an escape."""


CLOSELY = Glance()
"""What is known without a glance: each event is looked at by itself."""


def glance_through(text: bytes) -> Glance:
    """Look through a text of many events, such as a request's body."""
    return Glance(may_hold_secret(text), is_plain(text))


def read_event(raw: bytes | msgspec.Raw, glance: Glance = CLOSELY) -> Event:
    """Read one structured event and check all that holds for it wherever it comes from.

    `glance` is what is known of a text that holds it.
    Raises `InvalidEventError` with one of the codes `invalid_json`, `invalid_event`,
    `invalid_data`, `unsupported_datacontenttype`, `too_large`, `secret_in_payload`.
    """
    text = bytes(raw)
    if glance.suspect and holds_secret(text):
        raise secret_found()
    if len(text) > MAX_EVENT_BYTES:
        raise InvalidEventError("too_large", f"an event has at most {MAX_EVENT_BYTES} bytes")
    if glance.plain or is_plain(text):
        execution = read_execution(text)
        if execution is not None:
            return execution
    return _read_any(text)


def _read_any(text: bytes) -> CloudEvent:
    try:
        event: CloudEvent = _decode_plain(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = _read_with_extensions(text)
    if not text.isascii() or b"\\" in text or b"\x7f" in text:
        _refuse_unprintable_names(event)
    if event.datacontenttype != "application/json" and not is_json_type(event.datacontenttype):
        raise InvalidEventError(
            "unsupported_datacontenttype", "data must be application/json", "/datacontenttype"
        )
    if event.type == EXECUTION_FINISHED:
        try:
            _decode_execution(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise unreadable("invalid_data", error, "/data") from None
    return event


def is_json_type(content_type: str | None) -> bool:
    """Tell whether a content type is JSON in UTF-8: `json`, or what ends in `+json`; None is."""
    return content_type is None or _JSON_TYPE.fullmatch(content_type) is not None


def _read_with_extensions(text: bytes) -> CloudEvent:
    """Read an event with any extensions, or say why it is none."""
    try:
        attributes = _decode_attributes(text)
        if b"data_base64" in text and "data_base64" in attributes:
            text = _with_plain_data(attributes)
        event = _decode_event(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable("invalid_event", error) from None
    check_extensions(attributes)
    return event


def _with_plain_data(attributes: dict[str, msgspec.Raw]) -> bytes:
    """Write an event's data, which came as bytes in base64, as the JSON that they hold."""
    encoded = attribute_value(attributes["data_base64"])
    if encoded is None:
        return msgspec.json.encode({**attributes, "data_base64": None})
    place = "/data_base64"
    if "data" in attributes:
        raise InvalidEventError("invalid_event", "holds data and data_base64", place)
    try:
        data = base64.b64decode(encoded if isinstance(encoded, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEventError("invalid_event", "is no base64", place) from None
    if holds_secret(data):
        raise secret_found()
    return msgspec.json.encode({**attributes, "data": checked_json(data, place)})


def checked_json(data: bytes, place: str) -> msgspec.Raw:
    """Give a text that holds one JSON value and nothing else, to be put into another.

    Raises `InvalidEventError` with code `invalid_json` for any other.
    """
    try:
        _decode_raw(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable("invalid_json", error, place) from None
    return msgspec.Raw(data)


def _refuse_unprintable_names(event: CloudEvent) -> None:
    """Refuse attributes that could not be printed, logged or told apart as they are.

    In ASCII, JSON writes all of them but DEL with a backslash, so few events get here.
    """
    for name in _PLAIN_NAMES if isinstance(event, _PlainEvent) else NAMES:
        refuse_unprintable(getattr(event, name), f"/{name}")
