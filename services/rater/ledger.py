"""Writes the rater's books, all within the caller's transaction. I/O: asyncpg only."""

from collections.abc import AsyncIterable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from services.rater.batch import Batch, EventColumns, StoredEvent
from services.rater.copy_rows import COLUMNS, stream_of
from services.rater.posting import LineItem
from services.rater.set_aside.naming import event_named
from services.rater.tallying import UsageChange, UsageKey
from shared.database import Connection
from shared.errors import TallybookError

_encode = msgspec.json.Encoder().encode

Totals = dict[UsageKey, tuple[Decimal, Decimal]]
"""Running totals before and after a change, those that are not split by a dimension."""


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
    connection: Connection, parts: Sequence[EventColumns]
) -> dict[tuple[str, str], bytes]:
    """Give the content digests of those events that the database holds already."""
    rows = await connection.fetch(
        "SELECT e.source, e.id, e.digest FROM events e"
        " JOIN unnest($1::text[], $2::text[]) AS n (source, id)"
        " ON e.source = n.source AND e.id = n.id",
        [source for events in parts for source in events.sources],
        [event_id for events in parts for event_id in events.ids],
    )
    return {(row["source"], row["id"]): row["digest"] for row in rows}


async def copy_events(connection: Connection, rows: AsyncIterable[bytes]) -> None:
    """Store new events while their rows are still being written, see `services.rater.copy_rows`.

    Raises `asyncpg.UniqueViolationError` if one is there already. Until all are stored, the
    connection is in use.
    """
    await connection.copy_to_table(
        "events", columns=COLUMNS, source=stream_of(rows), format="binary"
    )


async def change_usage(connection: Connection, change: UsageChange) -> Totals:
    """Change the running totals, locked until the commit; give the whole ones before and after.

    Whole are those that are not split by a dimension: prices look at no others.
    """
    totals = await _raise_totals(connection, change.added, "t.quantity + excluded.quantity")
    if change.peaks:
        highest = "greatest(t.quantity, excluded.quantity)"
        totals |= await _raise_totals(connection, change.peaks, highest)
    if change.members:
        new = await _add_members(connection, change.members)
        totals |= await _raise_totals(connection, new, "t.quantity + excluded.quantity")
    return totals


async def _raise_totals(
    connection: Connection, quantities: Mapping[UsageKey, Decimal], raised: str
) -> Totals:
    # As one JSON text: that is written and sent far faster than an array a column.
    rows = await connection.fetch(
        "WITH raised AS (INSERT INTO usage_totals AS t"
        " (contract_id, usage_period, meter, dimension, value, quantity)"
        " SELECT o->>0, o->>1, o->>2, o->>3, o->>4, (o->>5)::numeric"
        " FROM jsonb_array_elements($1::jsonb) AS o"
        " ON CONFLICT (contract_id, usage_period, meter, dimension, value)"
        f" DO UPDATE SET quantity = {raised}"
        " RETURNING new.contract_id, new.usage_period, new.meter, new.dimension, new.value,"
        " coalesce(old.quantity, 0) AS before, new.quantity)"
        " SELECT * FROM raised WHERE dimension = ''",
        _encode([(*key, quantities[key]) for key in sorted(quantities)]).decode(),
    )
    return {UsageKey(*row[:5]): (row[5], row[6]) for row in map(tuple, rows)}


async def _add_members(
    connection: Connection, members: Mapping[UsageKey, Collection[str]]
) -> dict[UsageKey, Decimal]:
    """Note the values that unique counts have met; give how many of them are new."""
    pairs = sorted((key, member) for key, of_key in members.items() for member in of_key)
    rows = await connection.fetch(
        "WITH added AS (INSERT INTO usage_members"
        " (contract_id, usage_period, meter, dimension, value, member)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
        " $6::text[]) ON CONFLICT DO NOTHING"
        " RETURNING contract_id, usage_period, meter, dimension, value)"
        " SELECT *, count(*)::numeric FROM added GROUP BY 1, 2, 3, 4, 5",
        *_columns([key for key, _ in pairs]),
        [member for _, member in pairs],
    )
    return {UsageKey(*row[:5]): row[5] for row in map(tuple, rows)}


async def replace_usage(
    connection: Connection, months: Collection[tuple[str, str]], counted: UsageChange
) -> None:
    """Set the running totals of contracts' months to what was counted, whatever they were."""
    scope = [[contract_id for contract_id, _ in months], [period for _, period in months]]
    for table in ("usage_totals", "usage_members"):
        await connection.execute(
            f"DELETE FROM {table} t USING unnest($1::text[], $2::text[]) AS m (contract, period)"
            " WHERE t.contract_id = m.contract AND t.usage_period = m.period",
            *scope,
        )
    await change_usage(connection, counted)


async def read_usage(
    connection: Connection, months: Collection[tuple[str, str]]
) -> dict[UsageKey, Decimal]:
    """Read the running totals of contracts' months."""
    rows = await connection.fetch(
        "SELECT contract_id, usage_period, meter, dimension, value, quantity FROM usage_totals"
        " JOIN unnest($1::text[], $2::text[]) AS m (contract, period)"
        " ON contract_id = m.contract AND usage_period = m.period",
        [contract_id for contract_id, _ in months],
        [period for _, period in months],
    )
    return {UsageKey(*row[:5]): row[5] for row in map(tuple, rows)}


def _columns(keys: Sequence[UsageKey]) -> list[list[str]]:
    return [[key[column] for key in keys] for column in range(5)]


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
        " headers, code, detail, pointer, source, event_id)"
        " VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)",
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
                *event_named(letter.payload, letter.headers),
            )
            for letter in batch.dead_letters
        ],
    )
