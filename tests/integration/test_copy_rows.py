"""Postgres reads the rows that we write for COPY as it reads those that asyncpg writes."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from services.rater import ledger
from services.rater.batch import EventColumns, StoredEvent
from services.rater.copy_rows import rows_of
from tests.integration.conftest import OpenWorld

COLUMNS = (
    "source", "id", "type", "customer_id", "time", "data", "digest",
    "partition", "log_offset", "received_at", "batch_id", "contract_id",
)  # fmt: skip
TEXTS = ("", "a", "Größe", "日本語", "🧾" * 50, "tab\tnew\nline\\", 'quo"te', "\\N", "\x7f", " ")
# Not the very first and last: asyncpg writes these as infinite.
FIRST, LAST = datetime(1, 1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 1, 2, 3, 999_999, UTC)
DATA = ("{}", '{"a":1.50,"b":[null,true,"\\u00e4\\\\"]}', '{"n":123456789012.000000000001}')


def some(count: int) -> list[StoredEvent]:
    """Make events, odd in every way that can be stored."""
    chance = random.Random(20261130)
    moments = [FIRST, LAST, datetime(2000, 1, 1, tzinfo=UTC)]
    moments += [FIRST + chance.random() * (LAST - FIRST) for _ in range(50)]
    moments += [datetime(2026, 10, 1, tzinfo=UTC) - timedelta(microseconds=1)]
    return [
        StoredEvent(
            chance.choice(TEXTS),
            f"{chance.choice(TEXTS)}{number}",
            chance.choice(TEXTS),
            chance.choice(TEXTS),
            chance.choice(moments),
            chance.choice(DATA),
            chance.randbytes(16),
            chance.choice((0, 11, 2**31 - 1)),
            chance.choice((0, number, 2**63 - 1)),
            chance.choice(moments),
            None,
            (),
            (),
            (),
        )
        for number in range(count)
    ]


async def test_rows_are_stored_as_asyncpg_would(new_world: OpenWorld) -> None:
    events = some(2_000)
    contract_ids = [None if number % 7 == 0 else f"con_{number % 5}" for number in range(2_000)]

    async def rows() -> AsyncIterator[bytes]:
        for start in range(0, 2_000, 300):
            part = slice(start, start + 300)
            yield rows_of(EventColumns.of(events[part]), contract_ids[part], 5)

    async with new_world() as world, world.connect() as connection:
        await connection.execute("CREATE TABLE by_asyncpg (LIKE events INCLUDING ALL)")
        await connection.copy_records_to_table(
            "by_asyncpg",
            columns=COLUMNS,
            records=[
                (*event[:10], 5, contract_id)
                for event, contract_id in zip(events, contract_ids, strict=True)
            ],
        )
        await ledger.copy_events(connection, rows())
        assert await connection.fetchval("SELECT count(*) FROM events") == 2_000
        assert await connection.fetch("TABLE events EXCEPT TABLE by_asyncpg") == []
        assert await connection.fetch("TABLE by_asyncpg EXCEPT TABLE events") == []
