"""The event contract: CloudEvents 1.0 in JSON, and the execution event. Pure.

Ingest reads events with this before it writes them to the log; the rater reads them again
with the very same code, as a producer may write to the log without ingest.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import msgspec

from shared.secrets_guard import holds_secret

EXECUTION_FINISHED = "ai.execution.finished"
"""An execution of an agent that ended; version 1 (a later version would say so in the type)."""

STRUCTURED = b"application/cloudevents+json; charset=UTF-8"
"""The content type of a structured event on the log (CloudEvents' Kafka binding)."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_NAMES = ("id", "source", "type", "subject")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]
_MAX_EVENT_BYTES = 64_000
_MAX_DEPTH = 16
_LARGEST_NUMBER = 10**12
_DECIMAL_PLACES = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class CloudEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it came: the attributes that Tallybook reads, and its data unread.

    `subject` is the customer. `time` is when it happened, and decides what it costs.
    """

    specversion: Literal["1.0"]
    id: _Name
    source: _Name
    type: _Name
    subject: _Name
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    data: msgspec.Raw
    datacontenttype: str = "application/json"


class Execution(msgspec.Struct, frozen=True, gc=False):
    """The data of an execution event. Fields that are not named here are kept as they are."""

    execution_id: _Name
    status: Literal["succeeded", "failed"]
    model: _Name
    input_tokens: _Tokens = 0
    output_tokens: _Tokens = 0
    key_label: _Name | None = None
    failure_reason: Annotated[str, msgspec.Meta(max_length=2000)] | None = None


class InvalidEventError(Exception):
    """Bytes that are no event we can take: a machine-readable code, a detail, and a place."""

    def __init__(self, code: str, detail: str, pointer: str | None = None) -> None:
        self.code = code
        self.detail = detail
        self.pointer = pointer
        super().__init__(f"{code}: {detail}")


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


_decode_event = msgspec.json.Decoder(CloudEvent).decode
_decode_execution = msgspec.json.Decoder(Execution).decode
_decode_data = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_VALIDATION_PLACE = re.compile(r" - at `\$([^`]*)`$")
_INDEX = re.compile(r"\[(\d+)\]")


def read_event(raw: bytes | msgspec.Raw, *, suspect: bool = True) -> CloudEvent:
    """Read one structured event and check all that holds for it wherever it comes from.

    `suspect` False says that `may_hold_secret` was asked already of a text that holds it.
    Raises `InvalidEventError` with one of the codes `invalid_json`, `invalid_event`,
    `invalid_data`, `unsupported_datacontenttype`, `too_large`, `secret_in_payload`.
    """
    text = bytes(raw)
    if suspect and holds_secret(text):
        raise InvalidEventError(
            "secret_in_payload", "the event holds something like an API key; nothing of it is kept"
        )
    if len(text) > _MAX_EVENT_BYTES:
        raise InvalidEventError("too_large", f"an event has at most {_MAX_EVENT_BYTES} bytes")
    try:
        event = _decode_event(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable("invalid_event", error) from None
    if b"\\" in text or b"\x7f" in text:
        _refuse_control_characters(event)
    if event.datacontenttype != "application/json":
        raise InvalidEventError(
            "unsupported_datacontenttype", "data must be application/json", "/datacontenttype"
        )
    if event.type == EXECUTION_FINISHED:
        try:
            _decode_execution(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unreadable("invalid_data", error, "/data") from None
    return event


def _unreadable(code: str, error: Exception, place: str = "") -> InvalidEventError:
    """Say why msgspec could not read something; `code` is that of JSON of the wrong shape."""
    if isinstance(error, msgspec.ValidationError):
        return _invalid(code, error, place)
    if isinstance(error, RecursionError):
        return InvalidEventError("invalid_json", "nested too deeply")
    return InvalidEventError("invalid_json", f"not JSON: {error}", place or None)


def read_data(event: CloudEvent) -> dict[str, Any]:
    """Read an event's data, numbers with a fraction as exact decimals.

    Raises `InvalidEventError` with code `invalid_data` where it is no object, is nested too
    deeply, or holds a number or character that cannot be stored.
    """
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
        if kind is not str and (
            kind is not int or not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER
        ):
            _check_storable(data, "/data", 0)
            break
    else:
        if b"\\u0000" in bytes(event.data):
            _check_storable(data, "/data", 0)
    return data


def _refuse_control_characters(event: CloudEvent) -> None:
    """Refuse attributes that could not be printed, logged or stored as they are.

    JSON writes all of them but DEL with a backslash, so few events get here.
    """
    for name in _NAMES:
        if _CONTROL.search(getattr(event, name)):
            raise InvalidEventError("invalid_event", "holds a control character", f"/{name}")


def _check_storable(value: Any, place: str, depth: int) -> None:
    """Refuse what a JSON column, an index or an exact sum could not carry."""
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise InvalidEventError("invalid_data", "holds a NUL character", place)
    elif kind is int or kind is Decimal:
        if not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER or (
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


def canonical_data(data: dict[str, Any]) -> bytes:
    """Write data in one way only: keys in order, no white space."""
    return _encode_canonical(data)


def content_digest(event: CloudEvent, canonical: bytes) -> bytes:
    """Hash what an event says, so that equal content has equal digests (16 bytes, BLAKE2b).

    Order of keys, white space and the offset of the time make no difference (I3).
    """
    microseconds = (event.time - _EPOCH) // _MICROSECOND
    head = f"{event.type}\x00{event.subject}\x00{microseconds}\x00".encode()
    return hashlib.blake2b(head + canonical, digest_size=16).digest()


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
