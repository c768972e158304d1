"""Writes events as rows of the events table, in the binary format of Postgres' COPY. Pure.

asyncpg can do it too, value by value; that took a quarter of the rater's time. Here a column
is written in one go, and what many rows begin with is written once. The format is that of
PostgreSQL's documentation of COPY: each value after its length, which is -1 for a null.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from struct import Struct

from services.rater.batch import EventColumns

COLUMNS = (
    "batch_id", "source", "type", "customer_id", "contract_id",
    "partition", "log_offset", "received_at", "time", "digest", "id", "data",
)  # fmt: skip
"""The columns of the events table, in the order in which `rows_of` writes them."""

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""What comes before the first row: a signature, no flags, no extension."""

_END = b"\xff\xff"
"""What comes after the last row."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_JSONB_VERSION = 1
_DIGEST_BYTES = 16
_write_start = Struct("!hiq").pack
_write_length = Struct("!i").pack
_write_numbers = Struct(f"!iiiqiqiqi{_DIGEST_BYTES}si").pack
_write_json_start = Struct("!iB").pack


async def stream_of(rows: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Put rows, in parts of any number, into what COPY reads."""
    yield _BEGIN
    async for part in rows:
        yield part
    yield _END


def rows_of(events: EventColumns, contract_ids: Sequence[str | None], batch_id: int) -> bytes:
    """Write events as rows; `contract_ids` name the contract of each, None where it waits.

    Raises `ValueError` where a digest has not 16 bytes.
    """
    if set(map(len, events.digests)) - {_DIGEST_BYTES}:
        raise ValueError(f"a digest has {_DIGEST_BYTES} bytes")
    heads = list(zip(events.sources, events.types, events.customer_ids, contract_ids, strict=True))
    written = {head: _head(batch_id, head) for head in set(heads)}
    received_at = {moment: _microseconds(moment) for moment in set(events.received_at)}
    ids = list(map(str.encode, events.ids))
    numbers = map(
        _write_numbers,
        repeat(4),
        events.partitions,
        repeat(8),
        events.offsets,
        repeat(8),
        map(received_at.__getitem__, events.received_at),
        repeat(8),
        map(_microseconds, events.times),
        repeat(_DIGEST_BYTES),
        events.digests,
        map(len, ids),
    )
    data = list(map(str.encode, events.data))
    starts = [_write_json_start(len(text) + 1, _JSONB_VERSION) for text in data]
    rows = zip(map(written.__getitem__, heads), numbers, ids, starts, data, strict=True)
    return b"".join(chain.from_iterable(rows))


def _head(batch_id: int, texts: tuple[str | None, ...]) -> bytes:
    """Write what a row begins with: how many values it has, its batch, and texts."""
    return _write_start(len(COLUMNS), 8, batch_id) + b"".join(map(_text, texts))


def _text(text: str | None) -> bytes:
    if text is None:
        return _write_length(-1)
    encoded = text.encode()
    return _write_length(len(encoded)) + encoded


def _microseconds(moment: datetime) -> int:
    """Write a moment as Postgres does: microseconds since 2000."""
    return (moment - _EPOCH) // _MICROSECOND
