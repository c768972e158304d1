"""What two versions of an event differ in. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from shared.moments import format_moment

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an event: its content, where on the log it is, and when it came there."""

    type: str
    customer_id: str
    time: datetime
    data: str
    partition: int
    offset: int
    received_at: datetime

    def content(self) -> dict[str, Any]:
        """Give what the version says, as the event's attributes and data."""
        return {
            "type": self.type,
            "subject": self.customer_id,
            "time": format_moment(self.time),
            "data": _decode(self.data),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where two versions differ; each side as JSON, None where it has nothing there."""

    pointer: str
    stored: str | None
    other: str | None


def differences(stored: Version, other: Version) -> list[Difference]:
    """Name every place where two versions differ, by its JSON pointer, in order."""
    return list(_differing("", stored.content(), other.content()))


def _differing(place: str, stored: Any, other: Any) -> Iterator[Difference]:
    if isinstance(stored, dict) and isinstance(other, dict):
        for name in sorted({*stored, *other}):
            escaped = name.replace("~", "~0").replace("/", "~1")
            below = stored.get(name, _ABSENT), other.get(name, _ABSENT)
            yield from _differing(f"{place}/{escaped}", *below)
    elif _json(stored) != _json(other):
        yield Difference(place, _json(stored), _json(other))


def _json(value: Any) -> str | None:
    return None if value is _ABSENT else _encode(value).decode()
