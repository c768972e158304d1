"""What both clients share: gathers events into requests and keeps count of what became of them.

It neither waits nor sends; the clients do, each in its own way.
"""

import gzip
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from .answers import Again, Answered, Refusal, Refused, back_off, judge
from .buffer import Buffer, MemoryBuffer, within
from .metrics import Metrics
from .options import Options
from .spill import SpillBuffer

BATCH_TYPE = "application/cloudevents-batch+json"

SPLIT = -1.0
"""Instead of seconds to wait: send the first half."""

log = logging.getLogger("tallybook.client")

T = TypeVar("T")


class Outbox:
    """The events of one client between `record` and the answer."""

    def __init__(self, key: str, options: Options) -> None:
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": BATCH_TYPE}
        self.options = options
        bounds = (options.max_events, options.max_bytes)
        self.buffer: Buffer
        if options.spill is None:
            self.buffer = MemoryBuffer(*bounds)
        else:
            self.buffer = SpillBuffer(options.spill, *bounds)
        self._counts = Metrics()
        self._flush_to = 0
        self._since: float | None = None
        self._tries = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(waiting={self.waiting})"

    @property
    def waiting(self) -> int:
        """Count the events without an answer."""
        return self.buffer.entered - self.buffer.left

    def metrics(self) -> Metrics:
        """Take a snapshot of the counts."""
        return replace(
            self._counts,
            queued=self.waiting,
            queued_bytes=self.buffer.waiting_bytes,
            spilled_bytes=self.buffer.spilled_bytes,
            damaged=self.buffer.damaged,
            rejected=dict(self._counts.rejected),
        )

    def pieces(self, events: Sequence[bytes]) -> list[Sequence[bytes]]:
        """Cut events into pieces that the buffer has room for once it is empty."""
        options, pieces = self.options, []
        most_events = min(options.batch_events, options.max_events)
        while events:
            count = within(
                [len(event) for event in events[:most_events]], most_events, options.max_bytes // 4
            )
            pieces.append(events[:count])
            events = events[count:]
        return pieces

    def flush(self) -> int:
        """Have everything that waits sent at once; gives what `left` comes to then."""
        self._flush_to = max(self._flush_to, self.buffer.entered)
        return self._flush_to

    def due(self) -> float | None:
        """Say in how many seconds the next request is due; None where nothing waits."""
        if not self.waiting:
            self._since = None
            return None
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if (
            self.buffer.left < self._flush_to
            or self.waiting >= self.options.batch_events
            or self.buffer.waiting_bytes >= self.options.batch_bytes
        ):
            return 0.0
        return max(0.0, self._since + self.options.batch_seconds - now)

    def take(self) -> list[bytes]:
        """Give the events of the next request."""
        self._since = None
        events = self.buffer.take(self.options.batch_events, self.options.batch_bytes)
        if not events and self.waiting:
            raise OSError("events that were spilled to disk are not there any more")
        return events

    def request(self, events: Sequence[bytes]) -> tuple[dict[str, str], bytes]:
        """Write a request: headers and body."""
        body = b"[" + b",".join(events) + b"]"
        above = self.options.gzip_above
        if above is None or len(body) <= above:
            return self._headers, body
        return {**self._headers, "Content-Encoding": "gzip"}, gzip.compress(body, 5)

    def answered(
        self, status: int, headers: Mapping[str, str], body: bytes, events: Sequence[bytes]
    ) -> float | None:
        """Take in an answer; gives the seconds to wait before trying again, None if it is done.

        `SPLIT` says that a request of several events was refused and its first half is to be
        sent: so one bad event is found, and holds up no other.
        """
        outcome = judge(status, headers, body, events, datetime.now(UTC))
        if isinstance(outcome, Again):
            return self.failed(outcome.reason, outcome.after)
        self._tries = 0
        self._counts.requests += 1
        if isinstance(outcome, Answered):
            self._settle(outcome, len(events))
        elif len(events) > 1:
            self._note(f"{outcome.status} {outcome.code}: {outcome.detail}")
            return SPLIT
        else:
            self._refuse(outcome, events[0])
        return None

    def _settle(self, outcome: Answered, events: int) -> None:
        counts = self._counts
        counts.sent += events
        counts.accepted += outcome.accepted
        counts.duplicate += outcome.duplicate
        for rejection in outcome.rejections:
            counts.rejected[rejection.code] = counts.rejected.get(rejection.code, 0) + 1
            _tell(self.options.on_rejected, rejection)
        self.buffer.forget(events)

    def _refuse(self, outcome: Refused, event: bytes) -> None:
        self._counts.refused += 1
        self._note(f"{outcome.status} {outcome.code}: {outcome.detail}")
        _tell(self.options.on_refused, Refusal(event, outcome.status, outcome.code, outcome.detail))
        self.buffer.forget(1)

    def failed(self, reason: str, after: float | None = None) -> float:
        """Take in that a try failed; gives the seconds to wait before the next."""
        self._counts.retries += 1
        self._note(reason)
        options = self.options
        wait = back_off(
            self._tries,
            random.random(),  # noqa: S311  # spreads retries; nothing secret
            after,
            first=options.first_wait,
            most=options.longest_wait,
        )
        self._tries += 1
        return wait

    def _note(self, reason: str) -> None:
        self._counts.last_error = reason
        _tell(self.options.on_problem, reason)


def _tell(callback: Callable[[T], None] | None, news: T) -> None:
    if callback is None:
        return
    try:
        callback(news)
    except Exception as error:
        # The text of the error may hold what the callback was given: it is not logged.
        log.error("a callback failed: %s", type(error).__name__)
