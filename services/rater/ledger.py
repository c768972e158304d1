"""Writes the rater's books, all within the caller's transaction. I/O: asyncpg only."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from services.rater.metering import UsageKey
from services.rater.posting import LineItem
from services.rater.records import Batch, StoredEvent
from shared.database import Connection
from shared.errors import TallybookError

_EVENT_COLUMNS = (
    "source", "id", "type", "customer_id", "time", "data", "digest",
    "partition", "log_offset", "received_at", "batch_id", "contract_id",
)  # fmt: skip


class FencedError(TallybookError):
    """The offsets are not where this rater left them: another has taken the partition over."""

    code = "fenced"


async def move_offsets(
    connection: Connection,
    following: Mapping[tuple[str, int], int],
    expected: Mapping[tuple[str, int], int],
) -> None:
    """Move each partition's offset to the following, if it is where this rater believes it is.

    Raises `FencedError` otherwise; the caller's transaction must then be rolled back.
    """
    places = sorted(following)
    moved = await connection.fetch(
        "UPDATE offsets o SET next = n.next, moved_at = now()"
        " FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[])"
        " AS n (topic, partition, expected, next)"
        " WHERE o.topic = n.topic AND o.partition = n.partition AND o.next = n.expected"
        " RETURNING o.partition",
        [topic for topic, _ in places],
        [partition for _, partition in places],
        [expected[place] for place in places],
        [following[place] for place in places],
    )
    if len(moved) != len(places):
        raise FencedError("another rater has handled these records")


async def stored_digests(
    connection: Connection, events: Sequence[StoredEvent]
) -> dict[tuple[str, str], bytes]:
    """Give the content digests of those events that the database holds already."""
    rows = await connection.fetch(
        "SELECT e.source, e.id, e.digest FROM events e"
        " JOIN unnest($1::text[], $2::text[]) AS n (source, id)"
        " ON e.source = n.source AND e.id = n.id",
        [event.source for event in events],
        [event.id for event in events],
    )
    return {(row["source"], row["id"]): row["digest"] for row in rows}


async def start_copy(
    connection: Connection,
    events: Sequence[StoredEvent],
    contract_ids: Sequence[str | None],
    batch_id: int,
) -> asyncio.Task[str]:
    """Send new events, and give the task that waits until Postgres has stored them.

    The task raises `asyncpg.UniqueViolationError` if one is there already. Until it is done,
    the connection is in use.
    """
    sent = asyncio.Event()

    def rows() -> Iterator[tuple[object, ...]]:
        for event, contract_id in zip(events, contract_ids, strict=True):
            yield (*event[:10], batch_id, contract_id)
        sent.set()

    copying = asyncio.create_task(
        connection.copy_records_to_table("events", columns=_EVENT_COLUMNS, records=rows())
    )
    copying.add_done_callback(lambda _: sent.set())
    try:
        await sent.wait()
    except asyncio.CancelledError:
        copying.cancel()
        raise
    return copying


async def add_usage(
    connection: Connection, added: Mapping[UsageKey, Decimal]
) -> dict[UsageKey, Decimal]:
    """Add to the running totals and give them as they are then, locked until the commit."""
    keys = sorted(added)
    rows = await connection.fetch(
        "INSERT INTO usage_totals AS t"
        " (contract_id, usage_period, meter, dimension, value, quantity)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
        " $6::numeric[])"
        " ON CONFLICT (contract_id, usage_period, meter, dimension, value)"
        " DO UPDATE SET quantity = t.quantity + excluded.quantity"
        " RETURNING contract_id, usage_period, meter, dimension, value, quantity",
        *([key[column] for key in keys] for column in range(5)),
        [added[key] for key in keys],
    )
    return {UsageKey(*tuple(row)[:5]): row["quantity"] for row in rows}


async def post(connection: Connection, items: Sequence[LineItem]) -> None:
    """Append line items; Postgres refuses those for a closed period."""
    if items:
        await connection.copy_records_to_table(
            "line_items", columns=LineItem._fields, records=items
        )


async def write_batch_log(
    connection: Connection,
    batch: Batch,
    batch_id: int,
    expected: Mapping[tuple[str, int], int],
    following: Mapping[tuple[str, int], int],
) -> None:
    """Write what became of each partition's records, and the records that were set aside."""
    await connection.executemany(
        "INSERT INTO batches (batch_id, topic, partition, first_offset, next_offset, records,"
        " stored, duplicates, conflicts, dead_letters)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [
            (
                batch_id,
                topic,
                partition,
                expected[topic, partition],
                following[topic, partition],
                count.records,
                count.stored,
                count.duplicates,
                count.conflicts,
                count.dead_letters,
            )
            for (topic, partition), count in sorted(batch.counts.items())
        ],
    )
    await _write_conflicts(connection, batch.conflicts)
    await _write_dead_letters(connection, batch)


async def _write_conflicts(connection: Connection, conflicts: Iterable[StoredEvent]) -> None:
    await connection.executemany(
        "INSERT INTO conflicts (source, event_id, type, customer_id, time, data, digest,"
        " partition, log_offset, received_at) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
        [event[:10] for event in conflicts],
    )


async def _write_dead_letters(connection: Connection, batch: Batch) -> None:
    await connection.executemany(
        "INSERT INTO dead_letters (topic, partition, log_offset, received_at, key, payload,"
        " headers, code, detail, pointer) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
        [
            (
                letter.topic,
                letter.partition,
                letter.offset,
                letter.received_at,
                letter.key,
                letter.payload,
                msgspec.json.encode(letter.headers).decode(),
                letter.code,
                letter.detail,
                letter.pointer,
            )
            for letter in batch.dead_letters
        ],
    )
