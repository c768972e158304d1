"""An event's data: read so that they can be stored, written in one way only, and hashed. Pure."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from shared.event_errors import InvalidEventError
from shared.events import Event
from shared.executions import ExecutionEvent, PlainExecution

LARGEST_NUMBER = 10**12
_MAX_DEPTH = 16
_DECIMAL_PLACES = 12

Data = dict[str, Any] | PlainExecution
"""An event's data, read."""

_decode_data = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


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
