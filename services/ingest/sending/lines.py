"""Cuts a file of events, one a line, into requests. I/O: reads."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

MOST_BYTES = 2_000_000
"""Bytes of a request, below what ingest takes."""

_LONGEST_LINE = 1_000_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_read_one = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(slots=True)
class Bad:
    """A line that is no event and is not sent."""

    line: int
    code: str
    detail: str


@dataclass(slots=True)
class Batch:
    """The events of one request, with the lines they stand on; `end` is the place after them."""

    number: int
    lines: list[int] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    end: int = 0
    last_line: int = 0


def batches(file: BinaryIO, most: int, offset: int = 0, line: int = 0) -> Iterator[Batch]:
    """Give a file's events from a place on; `line` lines stand before it."""
    batch, size = Batch(0), 0
    for text, length in _whole_lines(file):
        line += 1
        offset += length
        if line == 1 and text is not None:
            text = text.removeprefix(_BYTE_ORDER_MARK)
        event = None if text is None else text.strip()
        if event is None:
            batch.bad.append(Bad(line, "too_large", "the line is far longer than an event may be"))
        elif event:
            try:
                _read_one(event)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                batch.bad.append(Bad(line, "invalid_json", "the line is not one JSON value"))
            else:
                batch.lines.append(line)
                batch.events.append(event)
                size += len(event) + 1
        batch.end, batch.last_line = offset, line
        if len(batch.events) + len(batch.bad) >= most or size > MOST_BYTES // 2:
            yield batch
            batch, size = Batch(batch.number + 1), 0
    if batch.end:
        yield batch


def _whole_lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Give each line with its length; None for one that is too long to be held."""
    while text := file.readline(_LONGEST_LINE):
        length = len(text)
        if length < _LONGEST_LINE or text.endswith(b"\n"):
            yield text, length
            continue
        while rest := file.readline(_LONGEST_LINE):
            length += len(rest)
            if rest.endswith(b"\n"):
                break
        yield None, length


def count_lines(file: BinaryIO) -> int:
    """Count the lines of a file, and go back to its beginning."""
    lines, last = 0, b"\n"
    while part := file.read(1 << 20):
        lines += part.count(b"\n")
        last = part[-1:]
    file.seek(0)
    return lines + (last != b"\n")
