"""What is measured: ingest beside a bare producer, rating beside a bare COPY. I/O: real servers."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from typing import TypeVar

import asyncpg
import httpx
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks import events as made
from benchmarks.http_load import SINGLE_TYPE, requests, send_all, send_paced
from infra.local.installation import Installation, environment_of
from infra.local.stack import answers
from infra.local.supervisor import Program
from services.rater.batch import EventColumns, StoredEvent
from services.rater.copy_rows import COLUMNS, rows_of, stream_of
from shared.broker import end_offsets
from shared.database import POSTING_LOCK, Connection
from shared.events import STRUCTURED, CloudEvent
from shared.periods import Period

T = TypeVar("T")

BATCH = 100
COPY_BATCH = 10_000
SECOND_RATER = "rater-2"
_EVENT_COLUMNS = (
    "source", "id", "type", "customer_id", "time", "data", "digest",
    "partition", "log_offset", "received_at", "batch_id", "contract_id",
)  # fmt: skip
_COPIED, _COPIED_BY_COLUMNS = "copied_events", "events_copied_by_columns"
_EARLIER = "earlier"  # whose events fill the table
_BATCH_ID, _CONTRACT_ID = 1, "con_1"
_HEADERS = [("content-type", STRUCTURED)]
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 300
_FILL_SECONDS = 1_200
_HANDLED = "SELECT coalesce(sum(next), 0)::bigint FROM offsets"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events in so many seconds."""

    events: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(self.events + other.events, self.seconds + other.seconds)


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut into parts of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def set_up(installation: Installation, period: Period) -> None:
    """Apply the catalogue and put every customer on a plan, by the rater's own interface."""
    await installation.start_service("rater")
    headers = {"Authorization": f"Bearer {installation.addresses.finance_key}"}
    async with httpx.AsyncClient(
        base_url=installation.settings.rater_url, headers=headers, timeout=60
    ) as rater:
        catalogue = files("services.rater.catalogue").joinpath("bizbot.yaml").read_bytes()
        answer = await rater.post(
            "/v1/catalogue", content=catalogue, headers={"Content-Type": "application/yaml"}
        )
        answer.raise_for_status()
        for index in range(made.CUSTOMERS):
            customer = made.customer(index)
            body = {"id": customer, "name": customer, "email": f"{customer}@example.com"}
            (await rater.post("/v1/customers", json=body)).raise_for_status()
            # Under the schedule the price is graduated.
            contract = {
                "plan": "byok",
                "discount": "volume-50k",
                "from": period.start.isoformat(),
            }
            answer = await rater.post(f"/v1/customers/{customer}/contracts", json=contract)
            answer.raise_for_status()


async def produce(
    installation: Installation, events: Sequence[tuple[str, bytes]], topic: str
) -> Rate:
    """Ceiling of ingest: the same records by a bare, idempotent producer with acks=all.

    They are put into large batches by hand, which is the quickest way there is.
    """
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
        record = {"key": key.encode(), "value": value, "timestamp": None, "headers": _HEADERS}
        if batch.append(**record) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**record)
    if batch.record_count():
        await (await producer.send_batch(batch, topic, partition=partition))


async def send(installation: Installation, events: Sequence[tuple[str, bytes]], topic: str) -> Rate:
    """Measure the ordinary way to produce the same records: a `send` for each, acks=all."""
    producer = AIOKafkaProducer(
        bootstrap_servers=installation.settings.kafka_bootstrap_servers,
        enable_idempotence=True,
        acks="all",
        max_batch_size=512_000,
    )
    await producer.start()
    started = time.monotonic()
    acks = [
        await producer.send(topic, value=value, key=key.encode(), headers=_HEADERS)
        for key, value in events
    ]
    await asyncio.gather(*acks)
    seconds = time.monotonic() - started
    await producer.stop()
    return Rate(len(events), seconds)


async def ingest(installation: Installation, events: Sequence[tuple[str, bytes]]) -> Rate:
    """Ingest over HTTP in batches of 100, one process, answered after acks=all."""
    prepared = requests(_batch_bodies(events), installation.addresses.producer_key)
    port = installation.settings.ingest_port
    started = time.monotonic()
    await send_all(port, prepared, BATCH)
    return Rate(len(events), time.monotonic() - started)


async def ingest_singles(installation: Installation, events: Sequence[tuple[str, bytes]]) -> Rate:
    """Ingest over HTTP, an event a request, one process, answered after acks=all."""
    bodies = [event for _, event in events]
    prepared = requests(bodies, installation.addresses.producer_key, SINGLE_TYPE)
    started = time.monotonic()
    await send_all(installation.settings.ingest_port, prepared, 1)
    return Rate(len(events), time.monotonic() - started)


async def ack_seconds(
    installation: Installation, events: Sequence[tuple[str, bytes]], per_second: float
) -> list[float]:
    """Ingest batches of 100 at a steady rate of events; give the seconds to each one's ack."""
    prepared = requests(_batch_bodies(events), installation.addresses.producer_key)
    port = installation.settings.ingest_port
    return await send_paced(port, prepared, BATCH, per_second / BATCH)


def _batch_bodies(events: Sequence[tuple[str, bytes]]) -> list[bytes]:
    return [b"[" + b",".join(event for _, event in part) + b"]" for part in batched(events, BATCH)]


async def copy_records(installation: Installation, events: Sequence[tuple[str, bytes]]) -> Rate:
    """Ceiling of rating: the ordinary COPY of the same rows, value by value, with asyncpg."""
    rows = [(*event[:10], _BATCH_ID, _CONTRACT_ID) for event in _stored(events)]

    async def store(connection: Connection) -> None:
        for part in batched(rows, COPY_BATCH):
            await connection.copy_records_to_table(_COPIED, columns=_EVENT_COLUMNS, records=part)

    return await _copy(installation, _COPIED, len(events), store)


async def copy_columns(installation: Installation, events: Sequence[tuple[str, bytes]]) -> Rate:
    """Ceiling of rating: the quickest COPY of the same rows that we know, as the rater has it."""
    parts = [EventColumns.of(part) for part in batched(_stored(events), COPY_BATCH)]

    async def rows() -> AsyncIterator[bytes]:
        for part in parts:
            yield rows_of(part, [_CONTRACT_ID] * len(part.ids), _BATCH_ID)

    async def store(connection: Connection) -> None:
        source = stream_of(rows())
        table = _COPIED_BY_COLUMNS
        await connection.copy_to_table(table, columns=COLUMNS, source=source, format="binary")

    return await _copy(installation, _COPIED_BY_COLUMNS, len(events), store)


def _stored(events: Sequence[tuple[str, bytes]]) -> list[StoredEvent]:
    decode = msgspec.json.Decoder(CloudEvent).decode
    now = datetime.now(UTC)
    rows = []
    for position, (customer, raw) in enumerate(events):
        event = decode(raw)
        rows.append(
            StoredEvent(
                event.source, event.id, event.type, customer, event.time,
                bytes(event.data).decode(), position.to_bytes(16, "big"), 0, position, now,
                None, (), (), (),
            )
        )  # fmt: skip
    return rows


async def _copy(
    installation: Installation,
    table: str,
    count: int,
    store: Callable[[Connection], Awaitable[None]],
) -> Rate:
    """Copy into a table like `events`, unique key and all, that grows by each turn as that does."""
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (LIKE events INCLUDING ALL)")
        started = time.monotonic()
        await store(connection)
        seconds = time.monotonic() - started
    finally:
        await connection.close()
    return Rate(count, seconds)


@contextlib.asynccontextmanager
async def nothing_posted(installation: Installation) -> AsyncIterator[None]:
    """Hold the posting lock: raters come as far as their first transaction, and wait."""
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", POSTING_LOCK)
        yield
    finally:
        await connection.close()


async def start_second_rater(installation: Installation) -> None:
    """Start another rater beside the first, and wait until it has its share of partitions."""
    port = installation.stack.ports["invoicer"]  # no invoicer runs here
    environment = {
        **environment_of(installation.settings),
        "TALLYBOOK_RATER_PORT": str(port),
        "TALLYBOOK_RATER_INSTANCE": SECOND_RATER,
    }
    command = [sys.executable, "-m", "services.cli", "rater"]
    url = f"http://127.0.0.1:{port}/health/ready"
    program = Program(SECOND_RATER, command, lambda: answers(url), environment)
    await installation.stack.supervisor.start(program)


async def rate(installation: Installation) -> Rate:
    """Rating: from the log to committed events, totals and line items, exactly once.

    The log was filled before, while nothing could be posted; the clock runs from the moment
    at which it can to that at which the offsets in Postgres have reached the log's ends.
    """
    started = time.monotonic()
    ends = sum((await end_offsets(installation.settings)).values())
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        before = await connection.fetchval(_HANDLED)
        while await connection.fetchval(_HANDLED) < ends:
            if time.monotonic() > started + _PATIENCE_SECONDS:
                raise TimeoutError("the rater does not catch up")
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await connection.close()
    return Rate(ends - before, time.monotonic() - started)


async def fill(installation: Installation, count: int, period: Period) -> None:
    """Put events into the table that were stored earlier, so that it is as large as years make it.

    They are of the same source as those of the benchmark, and their ids lie among theirs. They are
    made in Postgres, and the table's keys afterwards, as that is quicker; the key's pages are
    as full as they are once they have grown by ids drawn by lot.
    """
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        await connection.execute("ALTER TABLE voids DROP CONSTRAINT voids_source_event_id_fkey")
        await connection.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
        await connection.execute(
            "INSERT INTO events (source, id, type, customer_id, time, data, digest, partition,"
            " log_offset, received_at, batch_id, contract_id)"
            " SELECT $4, left(md5(n::text), 16), 'ai.execution.finished', $3,"
            " $2::timestamptz - n * interval '1 second', jsonb_build_object('execution_id', n,"
            " 'status', 'succeeded', 'model', 'claude-sonnet-4', 'input_tokens', 1000,"
            " 'output_tokens', 500, 'key_label', 'main'), decode(md5(n::text), 'hex'), 0, n,"
            " $2::timestamptz, 0, 'earlier' FROM generate_series(1, $1::bigint) AS n",
            count,
            period.start,
            _EARLIER,
            made.SOURCE,
            timeout=_FILL_SECONDS,
        )
        await connection.execute(
            "ALTER TABLE events ADD PRIMARY KEY (source, id) WITH (fillfactor = 70)",
            timeout=_FILL_SECONDS,
        )
        await connection.execute("VACUUM (ANALYZE) events", timeout=_FILL_SECONDS)
        await connection.execute("CHECKPOINT", timeout=_FILL_SECONDS)
    finally:
        await connection.close()


async def count_rated(installation: Installation) -> tuple[int, int, int]:
    """Count stored events of the benchmark, different ones, and executions on line items."""
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        row = await connection.fetchrow(
            "SELECT count(*) AS stored, count(DISTINCT id) AS different,"
            " (SELECT coalesce(sum(quantity), 0) FROM line_items WHERE charge = 'executions')"
            " AS billed FROM events WHERE source = $1 AND customer_id <> $2",
            made.SOURCE,
            _EARLIER,
            timeout=_FILL_SECONDS,
        )
    finally:
        await connection.close()
    assert row is not None
    return row["stored"], row["different"], int(row["billed"])
