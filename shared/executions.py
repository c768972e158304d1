"""The execution event: what its data hold, and a quick way to read those that are plain. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

EXECUTION_FINISHED: Final = "ai.execution.finished"
"""An execution of an agent that ended; version 1 (a later version would say so in the type)."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A name of something: an event's attribute, or a property by which usage is told apart."""

TraceText = Annotated[str, msgspec.Meta(max_length=256)]
"""CloudEvents' extension for distributed tracing: `traceparent`, `tracestate`."""

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]


class Execution(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The data of an execution event. Fields that are not named here are kept as they are."""

    # In alphabetical order, so that they are written in canonical order.
    execution_id: Name
    failure_reason: Annotated[str, msgspec.Meta(max_length=2000)] | UnsetType | None = UNSET
    input_tokens: _Tokens | UnsetType = UNSET
    key_label: Name | UnsetType | None = UNSET
    model: Name
    output_tokens: _Tokens | UnsetType = UNSET
    status: Literal["succeeded", "failed"]


EXECUTION_NUMBERS = frozenset(("input_tokens", "output_tokens"))
"""The fields of an execution's data that are numbers; the others are texts."""


class PlainExecution(Execution, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """The data of an execution event that have no other fields: they are read whole."""


class ExecutionEvent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An execution event with nothing unusual about it: most are, and read far faster so."""

    specversion: Literal["1.0"]
    id: Name
    source: Name
    type: Literal["ai.execution.finished"]
    subject: Name
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    data: PlainExecution
    datacontenttype: Literal["application/json"] | None = "application/json"
    traceparent: TraceText = ""
    tracestate: TraceText = ""


_MARK = f'"{EXECUTION_FINISHED}"'.encode()
_decode = msgspec.json.Decoder(ExecutionEvent).decode
_decode_all = msgspec.json.Decoder(list[ExecutionEvent]).decode
_decode_each = msgspec.json.Decoder(list[tuple[ExecutionEvent]]).decode


def is_plain(text: bytes) -> bool:
    """Tell whether a text, of one event or many, holds only printable ASCII and no escape."""
    return text.isascii() and b"\\" not in text and b"\x7f" not in text


def read_execution(text: bytes) -> ExecutionEvent | None:
    """Read a plain text as an execution event with nothing unusual about it, or give None.

    Unusual is what `shared.events` has to look at more closely: other fields or extensions,
    and whatever is wrong.
    """
    if _MARK not in text:
        return None
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None


def read_executions(text: bytes) -> list[ExecutionEvent] | None:
    """Read a plain array of events as `read_execution` does each, or give None if one is unusual.

    One call for all of them takes two thirds of what a call for each does.
    """
    try:
        return _decode_all(text)
    except msgspec.DecodeError:
        return None


def in_one(texts: Sequence[bytes]) -> bytes:
    """Put texts into one array, for `read_each`.

    Each stands in brackets of its own, on a line of its own. JSON has no line break within a
    string, so that a broken text cannot reach into the next one's.
    """
    return b"[[" + b"],\n[".join(texts) + b"]]"


def read_each(text: bytes, count: int) -> list[ExecutionEvent] | None:
    """Read plain texts that were put `in_one` as `read_execution` does each, or give None.

    There were `count` of them. As none can take the border after it away, there are more events
    than that where one text holds more than one, and nobody could tell which would be whose.
    """
    try:
        found = _decode_each(text)
    except msgspec.DecodeError:
        return None
    return [event for (event,) in found] if len(found) == count else None
