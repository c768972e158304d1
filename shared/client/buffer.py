"""Where events wait until ingest has answered: what every buffer does, and the one in memory.

Buffers are safe to use from several threads; only one of them may take and forget.
"""

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol


class BufferFullError(Exception):
    """The buffer has no room: ingest has not answered for long, or is slower than the producer."""


class SpillInUseError(Exception):
    """Another client uses the directory."""


class Buffer(Protocol):
    """Events in order, each kept until it is forgotten."""

    @property
    def entered(self) -> int:
        """Count the events that were put in since it was opened, those found there included."""

    @property
    def left(self) -> int:
        """Count the events that were forgotten since it was opened."""

    @property
    def waiting_bytes(self) -> int:
        """Count the bytes of the events that wait."""

    @property
    def spilled_bytes(self) -> int:
        """Count the bytes on disk."""

    @property
    def damaged(self) -> int:
        """Count the lines on disk that could not be read."""

    def offer(self, events: Sequence[bytes]) -> bool:
        """Put events in, all or, where there is no room, none."""

    def commit(self) -> None:
        """Make what was put in so far safe."""

    def take(self, most_events: int, most_bytes: int) -> list[bytes]:
        """Give the next events, which stay until they are forgotten."""

    def forget(self, count: int) -> None:
        """Let go of the first `count` of the events that were taken last."""

    def close(self) -> None:
        """Let go of the directory, if there is one; what waits on disk stays."""


def within(sizes: Sequence[int], most_events: int, most_bytes: int) -> int:
    """Say how many of the first pieces fit, at least one."""
    total = 0
    for count, size in enumerate(sizes[:most_events]):
        total += size + 1
        if count and total > most_bytes:
            return count
    return min(len(sizes), most_events)


class MemoryBuffer:
    """Events in memory, gone with the process."""

    spilled_bytes = 0
    damaged = 0

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events, self._max_bytes = max_events, max_bytes
        self._events: deque[bytes] = deque()
        self._lock = threading.Lock()
        self.waiting_bytes = 0
        self.entered = 0
        self.left = 0

    def offer(self, events: Sequence[bytes]) -> bool:
        """Put events in, if there is room for all."""
        size = sum(map(len, events))
        with self._lock:
            if (
                len(self._events) + len(events) > self._max_events
                or self.waiting_bytes + size > self._max_bytes
            ):
                return False
            self._events.extend(events)
            self.waiting_bytes += size
            self.entered += len(events)
        return True

    def commit(self) -> None:
        """Do nothing: memory is as safe as it gets."""

    def take(self, most_events: int, most_bytes: int) -> list[bytes]:
        """Give the next events."""
        with self._lock:
            first = list(islice(self._events, most_events))
        return first[: within([len(event) for event in first], most_events, most_bytes)]

    def forget(self, count: int) -> None:
        """Let go of the first events."""
        with self._lock:
            for _ in range(count):
                self.waiting_bytes -= len(self._events.popleft())
            self.left += count

    def close(self) -> None:
        """Do nothing: what waits goes with the client."""
