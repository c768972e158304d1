"""The event contract: CloudEvents 1.0 in JSON, and the execution event. Pure.

Ingest reads events with this before it writes them to the log; the rater reads them again
with the very same code, as a producer may write to the log without ingest.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

import base64
import binascii
import hashlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from shared.executions import (
    EXECUTION_FINISHED,
    Execution,
    ExecutionEvent,
    Name,
    PlainExecution,
    TraceText,
    is_plain,
    read_execution,
)
from shared.secrets_guard import holds_secret, may_hold_secret

STRUCTURED = b"application/cloudevents+json; charset=UTF-8"
"""The content type of a structured event on the log (CloudEvents' Kafka binding)."""

_NAMES = ("id", "source", "type", "subject")
_PLAIN_NAMES = (*_NAMES, "traceparent", "tracestate")
_CORE = {"specversion", *_NAMES, "time", "data", "data_base64", "datacontenttype", "dataschema"}
UNPRINTABLE = (
    r"\u0000-\u001f\u007f-\u009f"  # control characters
    r"\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # what hides, or turns text around
    r"\ufdd0-\ufdef\ufff9-\uffff"  # no characters at all, in the first plane
)
"""What no attribute may hold, as the inside of a regular expression's set."""

_UNPRINTABLE = re.compile(f"[{UNPRINTABLE}]")
_EXTENSION_NAME = re.compile(r"[a-z0-9]{1,64}")
_MOST_EXTENSIONS = 50
_MAX_EXTENSION_BYTES = 1_024
_LARGEST_EXTENSION = 2**31
"""CloudEvents' integers have 32 bits."""
_MAX_URI = 2_048
_JSON_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]+/(?:json|[a-z0-9!#$&^_.-]+\+json)"
    r"(?:\s*;\s*charset\s*=\s*\"?(?:utf-?8|us-ascii)\"?)?\s*",
    re.IGNORECASE,
)
MAX_EVENT_BYTES = 64_000
_MAX_DEPTH = 16
LARGEST_NUMBER = 10**12
_DECIMAL_PLACES = 12
_UNPRINTABLE_FOUND = "holds a control character, or another that cannot be seen"


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

Data = dict[str, Any] | PlainExecution
"""An event's data, read."""


class InvalidEventError(Exception):
    """Bytes that are no event we can take: a machine-readable code, a detail, and a place."""

    def __init__(self, code: str, detail: str, pointer: str | None = None) -> None:
        self.code = code
        self.detail = detail
        self.pointer = pointer
        super().__init__(f"{code}: {detail}")


def secret_found() -> InvalidEventError:
    """Make the refusal of an event that holds something like an API key (I11)."""
    return InvalidEventError(
        "secret_in_payload", "the event holds something like an API key; nothing of it is kept"
    )


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
_decode_value = msgspec.json.Decoder().decode
_decode_execution = msgspec.json.Decoder(Execution).decode
_decode_data = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_VALIDATION_PLACE = re.compile(r" - at `\$([^`]*)`$")
_INDEX = re.compile(r"\[(\d+)\]")


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
        _refuse_unprintable(event)
    if event.datacontenttype != "application/json" and not is_json_type(event.datacontenttype):
        raise InvalidEventError(
            "unsupported_datacontenttype", "data must be application/json", "/datacontenttype"
        )
    if event.type == EXECUTION_FINISHED:
        try:
            _decode_execution(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unreadable("invalid_data", error, "/data") from None
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
        raise _unreadable("invalid_event", error) from None
    _check_extensions(attributes)
    return event


def _with_plain_data(attributes: dict[str, msgspec.Raw]) -> bytes:
    """Write an event's data, which came as bytes in base64, as the JSON that they hold."""
    encoded = _value(attributes["data_base64"])
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
        raise _unreadable("invalid_json", error, place) from None
    return msgspec.Raw(data)


def _check_extensions(attributes: dict[str, msgspec.Raw]) -> None:
    names = attributes.keys() - _CORE
    if len(names) > _MOST_EXTENSIONS:
        detail = f"an event has at most {_MOST_EXTENSIONS} extension attributes"
        raise InvalidEventError("invalid_event", detail)
    for name in sorted(names):
        if not _EXTENSION_NAME.fullmatch(name):
            detail = "an extension's name is of 1 to 64 lower-case letters and digits"
            raise InvalidEventError("invalid_event", detail, pointer_to(name))
        _check_extension(_value(attributes[name]), f"/{name}", _MAX_EXTENSION_BYTES)
    if "dataschema" in attributes:
        schema = _value(attributes["dataschema"])
        if not isinstance(schema, str | None) or schema == "":
            raise InvalidEventError("invalid_event", "is no URI", "/dataschema")
        _check_extension(schema, "/dataschema", _MAX_URI)


def _check_extension(value: object, place: str, most: int) -> None:
    """Check a value: text without control characters, a boolean or a 32-bit integer (or null)."""
    if isinstance(value, str):
        if len(value.encode()) > most:
            raise InvalidEventError("invalid_event", f"has more than {most:,} bytes", place)
        if _UNPRINTABLE.search(value):
            raise InvalidEventError("invalid_event", _UNPRINTABLE_FOUND, place)
    elif isinstance(value, int):
        if not -_LARGEST_EXTENSION <= value < _LARGEST_EXTENSION:
            raise InvalidEventError("invalid_event", "an integer of more than 32 bits", place)
    elif value is not None:
        detail = "an extension's value is text, an integer or a boolean"
        raise InvalidEventError("invalid_event", detail, place)


def _value(raw: msgspec.Raw) -> object:
    """Read one attribute's value; one that cannot be read is of a type that fits nowhere."""
    try:
        value: object = _decode_value(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ...
    return value


def pointer_to(name: str) -> str:
    """Write an attribute's name as a JSON pointer, shortened."""
    return "/" + name[:64].replace("~", "~0").replace("/", "~1")


def _unreadable(code: str, error: Exception, place: str = "") -> InvalidEventError:
    """Say why msgspec could not read something; `code` is that of JSON of the wrong shape."""
    if isinstance(error, msgspec.ValidationError):
        return _invalid(code, error, place)
    if isinstance(error, RecursionError):
        return InvalidEventError("invalid_json", "nested too deeply", place or None)
    return InvalidEventError("invalid_json", f"not JSON: {error}", place or None)


def read_data(event: Event) -> Data:
    """Give an event's data, numbers with a fraction as exact decimals.

    Raises `InvalidEventError` with code `invalid_data` where it is no object, is nested too
    deeply, or holds a number or character that cannot be stored.
    """
    if isinstance(event, ExecutionEvent):
        return event.data
    try:
        data = _decode_data(event.data)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEventError(
            "invalid_data", f"data must be an object: {error}", "/data"
        ) from None
    except InvalidOperation:
        raise InvalidEventError("invalid_data", "a number beyond all bounds", "/data") from None
    for value in data.values():
        kind = type(value)
        if kind is not str and (kind is not int or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER):
            _check_storable(data, "/data", 0)
            break
    else:
        if b"\\u0000" in bytes(event.data):
            _check_storable(data, "/data", 0)
    return data


def _refuse_unprintable(event: CloudEvent) -> None:
    """Refuse attributes that could not be printed, logged or told apart as they are.

    In ASCII, JSON writes all of them but DEL with a backslash, so few events get here.
    """
    for name in _PLAIN_NAMES if isinstance(event, _PlainEvent) else _NAMES:
        if _UNPRINTABLE.search(getattr(event, name)):
            raise InvalidEventError("invalid_event", _UNPRINTABLE_FOUND, f"/{name}")


def _check_storable(value: Any, place: str, depth: int) -> None:
    """Refuse what a JSON column, an index or an exact sum could not carry."""
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise InvalidEventError("invalid_data", "holds a NUL character", place)
    elif kind is int or kind is Decimal:
        if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER or (
            kind is Decimal and value.as_tuple().exponent > _DECIMAL_PLACES
        ):
            raise InvalidEventError("invalid_data", "a number beyond 10^12", place)
        if kind is Decimal and value.as_tuple().exponent < -_DECIMAL_PLACES:
            raise InvalidEventError(
                "invalid_data", f"a number with more than {_DECIMAL_PLACES} decimal places", place
            )
    elif kind is dict or kind is list:
        if depth >= _MAX_DEPTH:
            raise InvalidEventError("invalid_data", f"nested deeper than {_MAX_DEPTH}", place)
        items = value.items() if kind is dict else enumerate(value)
        for key, item in items:
            _check_storable(str(key), place, depth + 1)
            _check_storable(item, f"{place}/{key}", depth + 1)


def canonical_data(data: Data) -> bytes:
    """Write data in one way only: keys in order, no white space."""
    return _encode_canonical(data)


def content_digest(event: Event, data: Data) -> bytes:
    """Hash what an event says, so that equal content has equal digests (16 bytes, BLAKE2b).

    `data` are the event's. Order of keys, white space and the offset of the time make no
    difference (I3).
    """
    return digest_of(event.type, event.subject, in_utc(event.time), canonical_data(data))


def digest_of(event_type: str, subject: str, time: datetime, canonical: bytes) -> bytes:
    """Hash content of which the time is in UTC already, and the data are canonical."""
    content = _encode_canonical((event_type, subject, time, msgspec.Raw(canonical)))
    return hashlib.blake2b(content, digest_size=16).digest()


def in_utc(moment: datetime) -> datetime:
    """Give the same moment with the offset of UTC."""
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _invalid(code: str, error: msgspec.ValidationError, prefix: str) -> InvalidEventError:
    """Turn msgspec's message into a detail and a JSON pointer to the place."""
    message = str(error)
    found = _VALIDATION_PLACE.search(message)
    pointer = prefix
    if found is not None:
        message = message[: found.start()]
        pointer += _INDEX.sub(r".\1", found[1]).replace(".", "/")
    elif missing := re.search(r"missing required field `(\w+)`", message):
        pointer += f"/{missing[1]}"
    return InvalidEventError(code, message, pointer or None)
