"""W3C Trace Context, as requests, events and records carry it: what is one, and whose. Pure.

What is no trace context is passed over: for a trace nothing is ever refused.
https://www.w3.org/TR/trace-context/ and, for events,
https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/distributed-tracing.md
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from shared.secrets_guard import holds_secret

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_BINARY = "ce_"
_MARK = b"traceparent"
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST_STATE = 512
_SAMPLED = 1

RecordHeaders = Sequence[tuple[str, bytes | None]]


class TraceContext(NamedTuple):
    """A span of somebody's trace, that others may hang under; `sampled` says that it is kept."""

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""

    def headers(self) -> list[tuple[str, bytes]]:
        """Write it as the headers of a record."""
        flags = _SAMPLED if self.sampled else 0
        parent = f"00-{self.trace_id:032x}-{self.span_id:016x}-{flags:02x}"
        state = [(TRACESTATE, self.state.encode())] if self.state else []
        return [(TRACEPARENT, parent.encode()), *state]


class _Attributes(msgspec.Struct, gc=False):
    """What is looked at of an event, whatever it may hold there."""

    traceparent: object = None
    tracestate: object = None


_decode = msgspec.json.Decoder(_Attributes).decode


def read_context(parent: object, state: object = "") -> TraceContext | None:
    """Read `traceparent` and `tracestate`; None where the first is no text that names a span.

    Of a later version the beginning counts, as its specification promises.
    """
    found = _PARENT.fullmatch(parent.strip(" \t")) if isinstance(parent, str) else None
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    if not trace_id or not span_id:
        return None
    return TraceContext(trace_id, span_id, bool(int(found[4], 16) & _SAMPLED), _kept(state))


def _kept(state: object) -> str:
    """Give a state that may be passed on: it is free text, so it may hold what must not (I11)."""
    if not isinstance(state, str) or len(state) > _LONGEST_STATE or holds_secret(state.encode()):
        return ""
    return state


def context_of_request(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Read the context of a request, whose names are in lower case, as ASGI gives them."""
    parents: list[str] = []
    states: list[str] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    return read_context(parents[0], ",".join(states)) if len(parents) == 1 else None


def context_of_event(text: bytes) -> TraceContext | None:
    """Read the context that a structured event carries as its extension."""
    if _MARK not in text:
        return None
    try:
        attributes = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return read_context(attributes.traceparent, attributes.tracestate)


def contexts_of_record(value: bytes | None, headers: RecordHeaders) -> set[TraceContext]:
    """Read all contexts that a record of the log carries: the event's own, and its sender's."""
    found = [None if value is None else context_of_event(value)]
    if len(headers) > 1:
        texts = _texts(headers)
        for prefix in (_BINARY, ""):
            parent = texts.get(prefix + TRACEPARENT)
            found.append(read_context(parent, texts.get(prefix + TRACESTATE)))
    return {context for context in found if context is not None}


def _texts(headers: RecordHeaders) -> dict[str, str]:
    return {name: (text or b"").decode("utf-8", "replace") for name, text in headers}
