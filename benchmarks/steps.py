"""What is measured: ingest beside a bare producer, rating beside a bare COPY. I/O: real servers."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TypeVar

import asyncpg
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.http_load import requests, send_all
from infra.local.installation import Installation
from shared.broker import end_offsets
from shared.events import CloudEvent

T = TypeVar("T")

BATCH = 100
COPY_BATCH = 10_000
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events in so many seconds."""

    events: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut into parts of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def produce(
    installation: Installation, events: Sequence[tuple[str, bytes]], topic: str
) -> Rate:
    """Ceiling of ingest: the same records by a bare, idempotent producer with acks=all."""
    servers = installation.settings.kafka_bootstrap_servers
    partitions = installation.settings.usage_partitions
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, acks="all", max_batch_size=512_000
    )
    await producer.start()
    by_partition = sorted(events, key=lambda event: hash(event[0]) % partitions)
    shares = [
        (partition, list(share))
        for partition, share in groupby(by_partition, lambda event: hash(event[0]) % partitions)
    ]
    started = time.monotonic()
    await asyncio.gather(*(_produce_share(producer, topic, *share) for share in shares))
    seconds = time.monotonic() - started
    await producer.stop()
    return Rate(len(events), seconds)


async def _produce_share(
    producer: AIOKafkaProducer, topic: str, partition: int, events: Sequence[tuple[str, bytes]]
) -> None:
    batch = producer.create_batch()
    for key, value in events:
        if batch.append(key=key.encode(), value=value, timestamp=None) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key.encode(), value=value, timestamp=None)
    if batch.record_count():
        await (await producer.send_batch(batch, topic, partition=partition))


async def ingest(installation: Installation, events: Sequence[tuple[str, bytes]]) -> Rate:
    """Ingest over HTTP in batches of 100, one process, answered after acks=all."""
    bodies = [
        b"[" + b",".join(event for _, event in part) + b"]" for part in batched(events, BATCH)
    ]
    prepared = requests(bodies, installation.addresses.producer_key)
    port = installation.settings.ingest_port
    started = time.monotonic()
    await send_all(port, prepared, BATCH)
    return Rate(len(events), time.monotonic() - started)


async def copy(installation: Installation, events: Sequence[tuple[str, bytes]]) -> Rate:
    """Ceiling of rating: COPY of the same rows into a table like `events`, unique key and all."""
    decode = msgspec.json.Decoder(CloudEvent).decode
    now = datetime.now(UTC)
    rows = []
    for position, (customer, raw) in enumerate(events):
        event = decode(raw)
        rows.append(
            (
                event.source, event.id, event.type, customer, event.time,
                bytes(event.data).decode(), position.to_bytes(16, "big"), 0, position, now, 1, "c",
            )
        )  # fmt: skip
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        await connection.execute("CREATE TABLE copied_events (LIKE events INCLUDING ALL)")
        started = time.monotonic()
        for part in batched(rows, COPY_BATCH):
            await connection.copy_records_to_table("copied_events", records=part)
        seconds = time.monotonic() - started
        await connection.execute("DROP TABLE copied_events")
    finally:
        await connection.close()
    return Rate(len(events), seconds)


async def rate(installation: Installation) -> Rate:
    """Rating: from the log to committed events, totals and line items, exactly once.

    The log was filled before; the clock runs from the first transaction's start to the moment
    at which the offsets in Postgres have reached the log's ends.
    """
    ends = await end_offsets(installation.settings)
    await installation.start_service("rater")
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while await connection.fetchval("SELECT coalesce(sum(next), 0) FROM offsets") < sum(
            ends.values()
        ):
            if time.monotonic() > deadline:
                raise TimeoutError("the rater does not catch up")
            await asyncio.sleep(_POLL_SECONDS)
        seconds = await connection.fetchval(
            "SELECT extract(epoch FROM clock_timestamp() - min(handled_at)) FROM batches"
        )
    finally:
        await connection.close()
    return Rate(sum(ends.values()), float(seconds))


async def count_rated(installation: Installation) -> tuple[int, int, int]:
    """Count stored events, different events among them, and executions on line items."""
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM events) AS stored,"
            " (SELECT count(DISTINCT (source, id)) FROM events) AS different,"
            " (SELECT coalesce(sum(quantity), 0) FROM line_items WHERE charge = 'executions')"
            " AS billed"
        )
    finally:
        await connection.close()
    assert row is not None
    return row["stored"], row["different"], int(row["billed"])
