"""A buffer on disk: every event is there before `commit` returns, until ingest has answered. I/O.

A directory holds segments of lines, each ``CHECKSUM EVENT``, a cursor that names the first
line that has no answer yet, and a lock. A segment is written by one client only: the next one
on the directory reads it and begins another. So a torn end harms nothing that follows, and a
cursor that was lost, or is old, only means that events are sent again under the same ids.
"""

import contextlib
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .buffer import SpillInUseError

_SUFFIX = ".events"
_HEAD = 9
_PART = 1 << 20


@dataclass(slots=True)
class _Segment:
    """A file of lines; `size` bytes of it may be read."""

    number: int
    path: Path
    size: int


class SpillBuffer:
    """Events in a directory; raises `SpillInUseError` where another client uses it."""

    def __init__(self, directory: Path, max_events: int, max_bytes: int) -> None:
        self._directory = directory
        self._max_events, self._max_bytes = max_events, max_bytes
        self._segment_bytes = max(_PART // 4, min(8 * _PART, max_bytes // 8))
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._file: int | None = None
        self._written = self._safe = self._unsafe = 0
        self.left = self.damaged = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._held: int | None = _hold(directory / "lock")
        self._segments, self._offset = self._found()
        self._next_number = max((one.number for one in self._segments), default=0) + 1
        self._next_number = max(self._next_number, self._cursor()[0] + 1)
        self._taken: list[int] = []
        events, size = 0, 0
        for segment in self._segments:
            first = self._offset if segment is self._segments[0] else 0
            for _, event in _lines(segment, first):
                events += event is not None
                size += len(event or b"")
        self.entered = events
        self.waiting_bytes = size

    @property
    def spilled_bytes(self) -> int:
        """Count the bytes of the segments."""
        return sum(segment.size for segment in self._segments)

    def _cursor(self) -> tuple[int, int]:
        try:
            number, offset = (self._directory / "cursor").read_text("ascii").split()
            return int(number), int(offset)
        except (OSError, ValueError):
            return 0, 0

    def _found(self) -> tuple[list[_Segment], int]:
        """Find what is to be sent; what the cursor has passed is removed."""
        number, offset = self._cursor()
        segments = []
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            if not path.stem.isdigit():
                continue
            if int(path.stem) < number:
                path.unlink()
            else:
                segments.append(_Segment(int(path.stem), path, path.stat().st_size))
        at_cursor = bool(segments) and segments[0].number == number
        return segments, min(offset, segments[0].size) if at_cursor else 0

    def offer(self, events: Sequence[bytes]) -> bool:
        """Write events, if there is room for all; raises `OSError` where the disk fails."""
        text = b"".join(b"%08x %b\n" % (zlib.crc32(event), event) for event in events)
        with self._lock:
            if self._held is None:
                raise ValueError("the buffer is closed")
            full = self.spilled_bytes + len(text) > self._max_bytes
            if full or self.entered - self.left + len(events) > self._max_events:
                return False
            if self._file is None or self._segments[-1].size >= self._segment_bytes:
                self._begin()
            assert self._file is not None
            try:
                _write(self._file, text)
            except OSError:
                self._end()  # the next event begins another segment
                raise
            self._segments[-1].size += len(text)
            self._written += 1
            self.entered += len(events)
            self.waiting_bytes += sum(map(len, events))
        return True

    def _begin(self) -> None:
        """Begin a segment; the one before is made safe first."""
        if self._file is not None:
            try:
                os.fsync(self._file)
            except OSError:
                self._give_up_file()
                raise
            self._end()
        path = self._directory / f"{self._next_number:012d}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._segments.append(_Segment(self._next_number, path, 0))
        self._next_number += 1
        _sync_directory(self._directory)

    def _end(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def commit(self) -> None:
        """Make what was written so far safe; callers that come together share one fsync.

        Raises `OSError` where it may not be safe; to record it again does no harm.
        """
        with self._lock:
            mine = self._written
        with self._sync_lock:
            if self._safe < mine:
                self._sync()
            if mine <= self._unsafe:
                raise OSError("the disk did not keep what was written")

    def _sync(self) -> None:
        with self._lock:
            written = self._written
            file = None if self._file is None else os.dup(self._file)
        try:
            if file is not None:
                os.fsync(file)
        except OSError:
            with self._lock:
                self._give_up_file()
        finally:
            if file is not None:
                os.close(file)
        self._safe = written

    def _give_up_file(self) -> None:
        """Write no more to a file that failed: what it holds may not be on disk."""
        self._unsafe = self._written
        self._end()

    def take(self, most_events: int, most_bytes: int) -> list[bytes]:
        """Read the next events; a line that is damaged is passed over and counted."""
        with self._lock:
            while self._segments and self._held is not None:
                if events := self._read_first(most_events, most_bytes):
                    return events
                if len(self._segments) == 1:
                    break
                self._drop_first()
            return []

    def _read_first(self, most_events: int, most_bytes: int) -> list[bytes]:
        """Read events of the first segment, up to a line that is damaged."""
        events: list[bytes] = []
        self._taken = []
        size = 0
        for end, event in _lines(self._segments[0], self._offset):
            if event is None:
                if events:
                    break
                self.damaged += 1
                self._move(end)
                continue
            size += len(event) + 1
            if len(events) == most_events or (events and size > most_bytes):
                break
            events.append(event)
            self._taken.append(end)
        return events

    def _move(self, offset: int) -> None:
        self._offset = offset
        temporary = self._directory / "cursor.new"
        temporary.write_text(f"{self._segments[0].number} {offset}\n", "ascii")
        temporary.replace(self._directory / "cursor")

    def _drop_first(self) -> None:
        segment = self._segments.pop(0)
        segment.path.unlink(missing_ok=True)
        self._offset = 0

    def forget(self, count: int) -> None:
        """Move the cursor behind the first events that were taken."""
        if not count:
            return
        with self._lock:
            if self._held is None:
                return
            before = self._offset
            end = self._taken[count - 1]
            del self._taken[:count]
            self.waiting_bytes -= end - before - count * (_HEAD + 1)
            self._move(end)
            self.left += count
            if end >= self._segments[0].size and len(self._segments) > 1:
                self._drop_first()
            elif self.entered == self.left and end >= self._segment_bytes // 2:
                self._end()
                while self._segments:
                    self._drop_first()

    def close(self) -> None:
        """Let go of the directory; what waits is there for the next client."""
        with self._sync_lock, self._lock:
            if self._held is not None:
                self._end()
                _release(self._held)
                self._held = None


def _lines(segment: _Segment, offset: int) -> Iterator[tuple[int, bytes | None]]:
    """Give place after each whole line and its event, None where it is damaged or torn."""
    if offset >= segment.size:
        return
    with segment.path.open("rb") as file:
        file.seek(offset)
        while offset < segment.size:
            line = file.readline()
            if not line:
                return
            offset += len(line)
            yield offset, _event_of(line)


def _event_of(line: bytes) -> bytes | None:
    event = line[_HEAD:-1]
    if line[-1:] != b"\n" or line[:_HEAD] != b"%08x " % zlib.crc32(event):
        return None
    return event


def _write(file: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(file, view) :]


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _hold(path: Path) -> int:
    import fcntl  # not on every system, and needed only here

    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise SpillInUseError(f"another client uses {path.parent}") from None
    return file


def _release(file: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)
