"""The client's options, checked as they are given."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .answers import Refusal, Rejection
from .events import MAX_EVENT_BYTES


class ClientClosedError(RuntimeError):
    """The client takes no more events: it was closed, or belongs to the process that forked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How events are gathered, kept and sent; every value has a default that suits most.

    - `source`: the source of events that name none.
    - `batch_events`, `batch_bytes`, `batch_seconds`: a request is sent once so much waits,
      or once the oldest waiting event is so old.
    - `max_events`, `max_bytes`: bounds of the buffer.
    - `when_full`: ``block`` (at most `block_seconds`, None: for ever) or ``raise``.
    - `spill`: a directory that keeps every event from when `record` returns until ingest has
      answered, through a crash too; one client at a time uses it. None: in memory only.
    - `first_wait`, `longest_wait`: back-off between tries, in seconds.
    - `close_seconds`: how long `close`, also at exit, waits for the rest to be sent.
    - `trace_context`: an event says which span of OpenTelemetry was open when it was recorded,
      if one was, in CloudEvents' extension `traceparent`.
    - `gzip_above`: bodies with more bytes are compressed; None: never.
    - `ssl_context`: own certificate authorities; certificates are verified in any case.
    - `on_rejected`, `on_refused`: called for an event that is not taken, from the sending thread.
    - `on_problem`: called with a reason for each try that failed.
    """

    source: str | None = None
    batch_events: int = 500
    batch_bytes: int = 1_000_000
    batch_seconds: float = 0.2
    max_events: int = 100_000
    max_bytes: int = 100_000_000
    when_full: Literal["block", "raise"] = "block"
    block_seconds: float | None = None
    spill: Path | None = None
    first_wait: float = 0.1
    longest_wait: float = 30.0
    request_seconds: float = 30.0
    close_seconds: float = 10.0
    trace_context: bool = True
    gzip_above: int | None = None
    ssl_context: ssl.SSLContext | None = None
    on_rejected: Callable[[Rejection], None] | None = None
    on_refused: Callable[[Refusal], None] | None = None
    on_problem: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if min(self.batch_events, self.max_events) < 1:
            raise ValueError("batch_events and max_events are at least 1")
        if min(self.batch_bytes, self.max_bytes) < 2 * MAX_EVENT_BYTES:
            raise ValueError(f"batch_bytes and max_bytes are at least {2 * MAX_EVENT_BYTES}")
        if not 0 < self.first_wait <= self.longest_wait:
            raise ValueError("first_wait is more than 0 and at most longest_wait")
        if self.when_full not in ("block", "raise"):
            raise ValueError("when_full is block or raise")
