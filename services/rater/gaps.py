"""Takes the books past the end of a log on which no record stands. I/O: Kafka, Postgres.

A transaction's marker has an offset and is no record, and what was aborted is never handed
out. Where a log ends so, no record comes that could take the offset in the books past it,
and a close, which waits for the end of the log, would wait for ever.
"""

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.database import Pool
from shared.kafka_access import finish, kafka_client
from shared.settings import Settings

_POLL_MS = 500


async def end_of_gap(settings: Settings, partition: TopicPartition, first: int) -> int | None:
    """Read the log from `first` on, apart from all other reading.

    Gives the offset up to which it holds no record, None where there is a record or nothing.
    """
    reader = AIOKafkaConsumer(
        **kafka_client(settings),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
    )
    await reader.start()
    try:
        reader.assign([partition])
        reader.seek(partition, first)
        if await reader.getmany(partition, timeout_ms=_POLL_MS):
            return None
        position: int = await reader.position(partition)
        return position if position > first else None
    finally:
        await finish(reader.stop())


async def move_past_gap(pool: Pool, partition: TopicPartition, first: int, end: int) -> bool:
    """Move the books from `first` to `end`; tell whether they still stood at `first`."""
    async with pool.acquire() as connection, connection.transaction():
        moved = await connection.fetchval(
            "UPDATE offsets SET next = $4, moved_at = now()"
            " WHERE topic = $1 AND partition = $2 AND next = $3 RETURNING 1",
            partition.topic,
            partition.partition,
            first,
            end,
        )
        if moved:
            await connection.execute(
                "INSERT INTO batches (batch_id, topic, partition, first_offset, next_offset,"
                " records, stored, duplicates, conflicts, dead_letters)"
                " VALUES (nextval('batch_ids'), $1, $2, $3, $4, 0, 0, 0, 0, 0)",
                partition.topic,
                partition.partition,
                first,
                end,
            )
        return bool(moved)
