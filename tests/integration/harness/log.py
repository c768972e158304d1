"""The log as an outsider writes and reads it. I/O: Kafka."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from shared.broker import end_offsets
from shared.kafka_access import kafka_client
from shared.settings import Settings


@dataclass(frozen=True)
class LogRecord:
    """A record as it stands on the log."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


async def produce(
    settings: Settings,
    values: Iterable[bytes | None],
    *,
    key: bytes | None,
    partition: int | None,
    headers: Sequence[tuple[str, bytes]],
) -> list[tuple[int, int]]:
    """Write records to the usage topic; gives partition and offset of each."""
    producer = AIOKafkaProducer(**kafka_client(settings), acks="all")
    await producer.start()
    try:
        sent = [
            await producer.send(
                settings.usage_topic, value, key=key, partition=partition, headers=list(headers)
            )
            for value in values
        ]
        return [(done.partition, done.offset) for done in await asyncio.gather(*sent)]
    finally:
        await producer.stop()


async def read_all(settings: Settings) -> list[LogRecord]:
    """Read everything that is on the usage topic, by partition and offset."""
    consumer = AIOKafkaConsumer(
        **kafka_client(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        ends = await end_offsets(settings)
        places = [TopicPartition(settings.usage_topic, partition) for partition in ends]
        consumer.assign(places)
        records: list[LogRecord] = []
        async with asyncio.timeout(30):
            while any([await consumer.position(p) < ends[p.partition] for p in places]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(
                        LogRecord(r.partition, r.offset, r.key, r.value, r.headers) for r in batch
                    )
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


async def drop_topic(settings: Settings) -> None:
    """Delete the usage topic."""
    admin = AIOKafkaAdminClient(**kafka_client(settings))
    await admin.start()
    try:
        await admin.delete_topics([settings.usage_topic])
    finally:
        await admin.close()
