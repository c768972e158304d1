"""Builds CloudEvents and writes them as JSON.

Reads the clock and chance for ids and times, and which span of a trace is open.
"""

import json
import os
import time as clock
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .trace_context import current_traceparent

EXECUTION_FINISHED = "ai.execution.finished"
MAX_EVENT_BYTES = 64_000
"""The largest event that ingest takes."""

_NEEDED = ("id", "source", "type", "subject")


class InvalidEventError(ValueError):
    """An event that ingest could never take; it is not sent."""


def new_id() -> str:
    """Make an id that no other has, in the form of a UUID of version 7 (RFC 9562)."""
    milliseconds = clock.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | chance
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def execution_event(
    *,
    customer: str,
    execution_id: str,
    status: str,
    model: str,
    input_tokens: int = 0,
    output_tokens: int = 0,
    key_label: str | None = None,
    failure_reason: str | None = None,
    time: datetime | None = None,
    id: str | None = None,  # noqa: A002  # CloudEvents' own word
) -> dict[str, Any]:
    """Build the event of an execution that ended; its id is the execution's unless one is given.

    `status` is ``succeeded`` or ``failed``; `time` is when it ended, now unless given.
    """
    data: dict[str, Any] = {
        "execution_id": execution_id,
        "status": status,
        "model": model,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
    }
    if key_label is not None:
        data["key_label"] = key_label
    if failure_reason is not None:
        data["failure_reason"] = failure_reason
    event: dict[str, Any] = {
        "id": id or execution_id,
        "type": EXECUTION_FINISHED,
        "subject": customer,
        "data": data,
    }
    if time is not None:
        event["time"] = _written(time)
    return event


def encode_event(
    event: Mapping[str, Any], source: str | None, *, trace_context: bool
) -> tuple[str, bytes]:
    """Fill in what an event leaves out (id, source, time), and write it; gives its id too.

    With `trace_context` it also says which span it came of, if one is open and it has the room.
    Raises `InvalidEventError` where it could never be taken.
    """
    whole: dict[str, Any] = {"specversion": "1.0", "datacontenttype": "application/json", **event}
    if whole.get("id") is None:
        whole["id"] = new_id()
    if whole.get("source") is None:
        whole["source"] = source
    time = whole.get("time")
    if time is None or isinstance(time, datetime):
        whole["time"] = _written(time or datetime.now(UTC))
    for name in _NEEDED:
        if not isinstance(whole.get(name), str) or not whole[name]:
            raise InvalidEventError(f"an event needs {name}, a text that is not empty")
    try:
        text = json.dumps(whole, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEventError(f"the event cannot be written as JSON: {error}") from None
    if len(text) > MAX_EVENT_BYTES:
        raise InvalidEventError(f"an event has at most {MAX_EVENT_BYTES} bytes, not {len(text)}")
    if trace_context and "traceparent" not in whole:
        text = _with_context(text)
    return whole["id"], text.encode()


def _with_context(text: str) -> str:
    """Add the open span to an event that is written already (CloudEvents' tracing extension)."""
    parent = current_traceparent()
    if parent is None:
        return text
    longer = f'{text[:-1]},"traceparent":"{parent}"}}'
    return longer if len(longer) <= MAX_EVENT_BYTES else text


def _written(time: datetime) -> str:
    if time.tzinfo is None:
        raise InvalidEventError("the time needs an offset, such as UTC")
    return time.isoformat()
