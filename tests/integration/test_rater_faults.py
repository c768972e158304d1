"""Whatever is done to the rater, its books come to what they come to without it (I2).

Each test sends the same month of traffic and breaks something on the way. The totals must be
those of a world in which nothing was broken, and those are checked against the hand.
"""

import asyncio
import signal
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from shared.database import POSTING_LOCK
from tests.integration.conftest import OpenWorld
from tests.integration.harness import traffic
from tests.integration.harness.books import Totals
from tests.integration.harness.events import encoded, executions
from tests.integration.harness.world import World

SMALL: dict[str, Any] = {"rater_batch_records": 50}
"""Batches small enough that a fault falls between two of them, or into one."""
ONE: dict[str, Any] = {**SMALL, "rater_instance": "rater-1"}
"""A fixed name in the group, so that the next rater need not wait for the dead one."""


@pytest.fixture(scope="module")
async def undisturbed(new_world: OpenWorld) -> Totals:
    """What the books come to when nothing is broken."""
    async with new_world() as world:
        await traffic.settle(world)
        await world.start("rater")
        await traffic.put_on_log(world)
        await world.caught_up()
        totals = await world.totals()
    assert totals.amounts == traffic.expected_amounts()
    assert totals.events == traffic.COUNTS
    return totals


@pytest.fixture
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await traffic.settle(made)
        yield made


async def _assert_unharmed(world: World, undisturbed: Totals) -> None:
    await world.caught_up()
    assert await world.totals() == undisturbed
    assert await world.out_of_balance() == []
    (row,) = await world.fetch(
        "SELECT sum(records) AS records, sum(stored) AS stored, sum(conflicts) AS conflicts"
        " FROM batches"
    )
    assert row["records"] == len(await world.log_records())
    assert (row["stored"], row["conflicts"]) == (sum(traffic.COUNTS.values()), 1)


async def _stored(world: World, least: int) -> None:
    """Wait until so many events are stored."""
    async with asyncio.timeout(30), world.connect() as connection:
        while await connection.fetchval("SELECT count(*) FROM events") < least:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _waits_for_lock(world: World) -> None:
    """Wait until a rater waits for a lock, in the midst of its transaction."""
    async with asyncio.timeout(30), world.connect() as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'tallybook_rater' AND wait_event_type = 'Lock'"
        )
        while not await connection.fetchval(query):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_killed_at_every_step_of_a_transaction(world: World, undisturbed: Totals) -> None:
    """Blocks the rater at each table that it writes in turn, and kills it there."""
    await traffic.put_on_log(world)
    for table in ("offsets", "events", "usage_totals", "line_items", "batches", "conflicts"):
        async with world.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            rater = await world.start("rater", wait=False, **ONE)
            await _waits_for_lock(world)
            stored = await connection.fetchval("SELECT count(*) FROM events")
            await rater.kill()
            await transaction.rollback()
        assert stored == await world.count("events"), "a killed transaction left events behind"
    await world.start("rater", wait=False, **ONE)
    await _assert_unharmed(world, undisturbed)


async def test_killed_again_and_again_under_load(world: World, undisturbed: Totals) -> None:
    rater = await world.start("rater", **ONE)
    loading = asyncio.create_task(traffic.put_on_log(world))
    for stored in (200, 900, 1700, 2600):
        await _stored(world, stored)
        await rater.kill()
        rater = await world.start("rater", wait=False, **ONE)
    await loading
    await _assert_unharmed(world, undisturbed)


async def test_postgres_is_restarted_while_rating(world: World, undisturbed: Totals) -> None:
    rater = await world.start("rater", **SMALL)
    loading = asyncio.create_task(traffic.put_on_log(world))
    await _stored(world, 500)
    await world.restart_postgres()
    await loading
    await _assert_unharmed(world, undisturbed)
    assert rater.status is None, "the rater must come back by itself"


async def test_a_second_rater_joins_and_the_first_leaves(world: World, undisturbed: Totals) -> None:
    first = await world.start("rater", **SMALL)
    loading = asyncio.create_task(traffic.put_on_log(world))
    await _stored(world, 300)
    await world.start("rater", **SMALL)
    await _stored(world, 1200)
    assert await first.stop() in (0, -signal.SIGTERM)
    await loading
    await _assert_unharmed(world, undisturbed)


async def test_a_rater_frozen_in_its_transaction_meets_its_successor(
    world: World, undisturbed: Totals
) -> None:
    """The successor must wait for the open transaction, then go on after it."""
    await traffic.put_on_log(world)
    async with world.connect() as connection, connection.transaction():
        await connection.execute("LOCK TABLE line_items IN EXCLUSIVE MODE")
        frozen = await world.start("rater", wait=False, **ONE)
        await _waits_for_lock(world)
        frozen.signal(signal.SIGSTOP)
        await world.start("rater", wait=False, **ONE)
    await _stands_still(world)
    frozen.signal(signal.SIGCONT)
    await _assert_unharmed(world, undisturbed)


async def test_a_rater_frozen_before_its_transaction_wakes_after_its_successor(
    world: World, undisturbed: Totals
) -> None:
    """The frozen one holds records in memory that another has rated: it must not rate them."""
    await traffic.put_on_log(world)
    async with world.connect() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", POSTING_LOCK)
        frozen = await world.start("rater", wait=False, **ONE)
        await _waits_for_lock(world)
        frozen.signal(signal.SIGSTOP)
        await world.start("rater", **ONE)
    await _assert_unharmed(world, undisturbed)
    frozen.signal(signal.SIGCONT)
    await frozen.says("another rater was here")
    await _assert_unharmed(world, undisturbed)


async def _stands_still(world: World) -> None:
    """Wait until the successor waits for the frozen rater's transaction."""
    await _waits_for_lock(world)
    before = await world.count("events")
    await asyncio.sleep(0.5)
    assert await world.count("events") == before


async def test_the_same_traffic_on_the_log_twice(world: World, undisturbed: Totals) -> None:
    await world.start("rater", **SMALL)
    await traffic.put_on_log(world)
    await traffic.put_on_log(world)
    await world.caught_up()
    assert await world.totals() == undisturbed
    assert await world.out_of_balance() == []


async def test_gaps_and_transactions_in_the_log_do_not_stop_it(
    world: World, undisturbed: Totals
) -> None:
    """A transaction's marker takes an offset and is no record; what was aborted never comes."""
    await world.start("rater", **SMALL)
    batches = list(traffic.batches_of(world.period))
    aborted = executions("ada", 50, period=world.period, prefix="aborted-")
    producer = AIOKafkaProducer(
        bootstrap_servers=world.settings.kafka_bootstrap_servers,
        transactional_id=world.settings.usage_topic,
    )
    await producer.start()
    try:
        for number, batch in enumerate(batches):
            await producer.begin_transaction()
            for event in batch:
                key = event["subject"].encode()
                await producer.send(world.settings.usage_topic, encoded(event), key=key)
            await producer.commit_transaction()
            if number % 7 == 3:
                await producer.begin_transaction()
                for event in aborted:
                    await producer.send(world.settings.usage_topic, encoded(event), partition=0)
                await producer.flush()
                await producer.abort_transaction()
    finally:
        await producer.stop()
    await world.caught_up()
    assert await world.totals() == undisturbed
    assert await world.out_of_balance() == []


async def test_books_that_are_ahead_of_the_log_stop_it_with_a_clear_message(
    world: World,
) -> None:
    """The topic was made anew: to go on would be to skip what comes now."""
    await world.produce([encoded(e) for e in executions("ada", 5, period=world.period)])
    async with world.connect() as connection:
        await connection.execute(
            "INSERT INTO offsets (topic, partition, next) VALUES ($1, 0, 1000)",
            world.settings.usage_topic,
        )
    rater = await world.start("rater", wait=False)
    assert await rater.ended() == 1
    assert "records were lost, or the topic was made anew" in rater.log_text()
    world.processes.remove(rater)


async def test_a_record_that_cannot_be_read_stops_it_with_a_clear_message(world: World) -> None:
    """Kafka takes any bytes as a header's name; aiokafka cannot read those that are no text."""
    rater = await world.start("rater", **ONE)
    await traffic.put_on_log(world, list(traffic.batches_of(world.period))[:2])
    await world.caught_up()
    await _produce_with_broken_header(world, partition=0)
    async with asyncio.timeout(30):
        while rater.status is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert rater.status == 1
    assert "a record cannot be read (UnicodeDecodeError" in rater.last_lines()
    assert f"of partition 0 of {world.settings.usage_topic}" in rater.last_lines()


async def _produce_with_broken_header(world: World, *, partition: int) -> None:
    servers = world.settings.kafka_bootstrap_servers
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        batch = producer.create_batch()
        batch.append(key=b"ada", value=b"{}", timestamp=None, headers=[("name", b"")])
        batch.close()
        raw = bytearray(batch._build())
        place = raw.index(b"name")
        raw[place : place + 4] = b"\xff\xfe\xfd\xfc"
        raw[17:21] = struct.pack(">I", calc_crc32c(bytes(raw[21:])))
        batch._buffer = raw
        await (await producer.send_batch(batch, world.settings.usage_topic, partition=partition))
    finally:
        await producer.stop()
