"""What an event's attributes may hold, its extensions above all. Pure."""

import re

import msgspec

from shared.event_errors import InvalidEventError, pointer_to

NAMES = ("id", "source", "type", "subject")
"""The attributes that name an event and whose it is."""

_CORE = {"specversion", *NAMES, "time", "data", "data_base64", "datacontenttype", "dataschema"}

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

_decode_value = msgspec.json.Decoder().decode


def refuse_unprintable(text: str, place: str) -> None:
    """Raise `InvalidEventError` for what could not be printed, logged or told apart as it is."""
    if _UNPRINTABLE.search(text):
        detail = "holds a control character, or another that cannot be seen"
        raise InvalidEventError("invalid_event", detail, place)


def check_extensions(attributes: dict[str, msgspec.Raw]) -> None:
    """Raise `InvalidEventError` for an extension, or a schema, that is none; all are given."""
    names = attributes.keys() - _CORE
    if len(names) > _MOST_EXTENSIONS:
        detail = f"an event has at most {_MOST_EXTENSIONS} extension attributes"
        raise InvalidEventError("invalid_event", detail)
    for name in sorted(names):
        if not _EXTENSION_NAME.fullmatch(name):
            detail = "an extension's name is of 1 to 64 lower-case letters and digits"
            raise InvalidEventError("invalid_event", detail, pointer_to(name))
        _check_extension(attribute_value(attributes[name]), f"/{name}", _MAX_EXTENSION_BYTES)
    if "dataschema" in attributes:
        schema = attribute_value(attributes["dataschema"])
        if not isinstance(schema, str | None) or schema == "":
            raise InvalidEventError("invalid_event", "is no URI", "/dataschema")
        _check_extension(schema, "/dataschema", _MAX_URI)


def _check_extension(value: object, place: str, most: int) -> None:
    """Check a value: text without control characters, a boolean or a 32-bit integer (or null)."""
    if isinstance(value, str):
        if len(value.encode()) > most:
            raise InvalidEventError("invalid_event", f"has more than {most:,} bytes", place)
        refuse_unprintable(value, place)
    elif isinstance(value, int):
        if not -_LARGEST_EXTENSION <= value < _LARGEST_EXTENSION:
            raise InvalidEventError("invalid_event", "an integer of more than 32 bits", place)
    elif value is not None:
        detail = "an extension's value is text, an integer or a boolean"
        raise InvalidEventError("invalid_event", detail, place)


def attribute_value(raw: msgspec.Raw) -> object:
    """Read one attribute's value; one that cannot be read is of a type that fits nowhere."""
    try:
        value: object = _decode_value(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ...
    return value
