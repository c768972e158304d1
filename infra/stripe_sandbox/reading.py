"""How one parameter's text becomes a value; each reader refuses as Stripe does. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from infra.stripe_sandbox.errors import (
    empty_parameter,
    invalid,
    missing_parameter,
    unknown_parameter,
)
from infra.stripe_sandbox.forms import Tree, entries

Read = Callable[[str | Tree, str], Any]
"""Takes the raw value and the parameter's name; raises `StripeApiError`."""

Fields = Mapping[str, Read]

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_METADATA_KEYS = 50
_METADATA_KEY = 40
_METADATA_VALUE = 500


def text(longest: int = 5000) -> Read:
    """Read a text that must not be empty."""

    def read(value: str | Tree, param: str) -> str:
        return _some_text(value, param, longest)

    return read


def optional_text(longest: int = 5000) -> Read:
    """Read a text; an empty one unsets the field and is given as None."""

    def read(value: str | Tree, param: str) -> str | None:
        return None if value == "" else _some_text(value, param, longest)

    return read


def integer(least: int | None = None, most: int | None = None) -> Read:
    """Read a whole number; a fraction is refused, as money is whole minor units."""

    def read(value: str | Tree, param: str) -> int:
        if value == "":
            raise empty_parameter(param)
        if not isinstance(value, str) or not _INTEGER.fullmatch(value):
            raise invalid(f"Invalid integer: {value}", param, "parameter_invalid_integer")
        number = int(value)
        if (least is not None and number < least) or (most is not None and number > most):
            message = f"Invalid integer: {value}; out of range"
            raise invalid(message, param, "parameter_invalid_integer")
        return number

    return read


def boolean(value: str | Tree, param: str) -> bool:
    """Read ``true`` or ``false``."""
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", param)
    return value == "true"


def currency(value: str | Tree, param: str) -> str:
    """Read a currency's three letters, and give them in lower case."""
    if not _CURRENCY.fullmatch(_some_text(value, param, 5000)):
        raise invalid(f"Invalid currency: {value}", param)
    return str(value).lower()


def nothing(value: str | Tree, param: str) -> str:
    """Read the empty text, which clears a list; the sandbox has nothing to put into it."""
    if value != "":
        raise invalid(f"The sandbox takes '{param}' only empty", param)
    return ""


def choice(*allowed: str) -> Read:
    """Read one of several words."""

    def read(value: str | Tree, param: str) -> str:
        if value == "":
            raise empty_parameter(param)
        if value not in allowed:
            raise invalid(f"Invalid {param}: must be one of {', '.join(allowed)}", param)
        return str(value)

    return read


def group(fields: Fields, required: tuple[str, ...] = ()) -> Read:
    """Read a group of parameters."""

    def read(value: str | Tree, param: str) -> dict[str, Any]:
        if isinstance(value, str):
            raise invalid("Invalid object", param)
        return read_fields(value, fields, required, param)

    return read


def either(plain: Read, grouped: Read) -> Read:
    """Read a plain value or a group, as ``created`` is written."""

    def read(value: str | Tree, param: str) -> Any:
        return plain(value, param) if isinstance(value, str) else grouped(value, param)

    return read


def listed(item: Read, most: int) -> Read:
    """Read a list with at least one entry."""

    def read(value: str | Tree, param: str) -> list[Any]:
        items = None if isinstance(value, str) else entries(value)
        if not items:
            raise invalid("Invalid array", param)
        if len(items) > most:
            raise invalid(f"Array {param} exceeded maximum {most} allowed elements.", param)
        return [item(one, f"{param}[{index}]") for index, one in enumerate(items)]

    return read


def clearable(read_list: Read) -> Read:
    """Read a list; an empty text clears it and is given as None."""

    def read(value: str | Tree, param: str) -> Any:
        return None if value == "" else read_list(value, param)

    return read


def metadata(value: str | Tree, param: str) -> dict[str, str] | None:
    """Read metadata. None, from an empty text, unsets all keys; an empty value unsets one.

    Limits: https://docs.stripe.com/api/metadata.
    """
    if value == "":
        return None
    if isinstance(value, str):
        raise invalid("Invalid object", param)
    read: dict[str, str] = {}
    for key, one in value.items():
        named = f"{param}[{key}]"
        if len(key) > _METADATA_KEY:
            raise invalid(f"Metadata keys have at most {_METADATA_KEY} characters", named)
        if not isinstance(one, str) or len(one) > _METADATA_VALUE:
            raise invalid(f"Metadata values have at most {_METADATA_VALUE} characters", named)
        read[key] = one
    check_metadata_size(read, param)
    return read


def check_metadata_size(values: Mapping[str, str], param: str) -> None:
    """Refuse metadata with more keys than an object can hold."""
    if len(values) > _METADATA_KEYS:
        raise invalid(f"Metadata holds at most {_METADATA_KEYS} keys", param)


def read_fields(
    form: Tree, fields: Fields, required: tuple[str, ...] = (), within: str = ""
) -> dict[str, Any]:
    """Read a form by the fields that its operation takes; refuse unknown and missing ones."""
    values: dict[str, Any] = {}
    for name, value in form.items():
        param = f"{within}[{name}]" if within else name
        read = fields.get(name)
        if read is None:
            raise unknown_parameter(param)
        values[name] = read(value, param)
    for name in required:
        if name not in values:
            raise missing_parameter(f"{within}[{name}]" if within else name)
    return values


def _some_text(value: str | Tree, param: str, longest: int) -> str:
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {param}", param)
    if value == "":
        raise empty_parameter(param)
    if len(value) > longest:
        raise invalid(f"Invalid string: {param}; must be at most {longest} characters", param)
    return value
