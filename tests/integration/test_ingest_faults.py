"""Ingest says `accepted` only of what Kafka holds, whatever happens to either of them (I1)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness import traffic
from tests.integration.harness.events import Event, executions
from tests.integration.harness.own_kafka import OwnKafka
from tests.integration.harness.world import World

ACK_SECONDS = 1.5


@pytest.fixture(scope="module")
async def own_kafka(data_directory: Path) -> AsyncIterator[OwnKafka]:
    """A Kafka that these tests may take away; not started yet."""
    async with OwnKafka(data_directory / "own-kafka") as kafka:
        yield kafka


@pytest.fixture
async def own_world(new_world: OpenWorld, own_kafka: OwnKafka) -> AsyncIterator[World]:
    """A world on that Kafka."""
    async with new_world(kafka=own_kafka.address) as made:
        yield made


async def _post(world: World, events: list[Event]) -> httpx.Response:
    return await world.post(msgspec.json.encode(events))


def _assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    assert "accepted" not in response.text


async def _ids_on_log(world: World) -> list[str]:
    records = await world.log_records()
    return [msgspec.json.decode(record.value or b"")["id"] for record in records]


async def test_services_that_start_before_kafka_wait_for_it(
    own_world: World, own_kafka: OwnKafka
) -> None:
    world = own_world
    await traffic.settle(world)
    ingest, rater = await asyncio.gather(
        world.start("ingest", wait=False), world.start("rater", wait=False)
    )
    for process in (ingest, rater):
        assert await _waits_for(world, process.url) == ["kafka"]
    batches = list(traffic.batches_of(world.period))
    _assert_unavailable(await _post(world, batches[0]))

    await own_kafka.start()
    await world.create_topic()
    await asyncio.gather(ingest.ready(seconds=30), rater.ready(seconds=30))
    for batch in batches:
        await world.send(batch)
    await world.caught_up()
    assert (await world.totals()).amounts == traffic.expected_amounts()
    assert (await world.totals()).events == traffic.COUNTS


async def _waits_for(world: World, url: str) -> list[str]:
    """Wait until a service answers and has found Postgres; give what it still waits for."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = (await world.http.get(f"{url}/health/ready")).json()
                waiting: list[str] = answer["waiting_for"]
                if "postgres" not in waiting:
                    return waiting
            await asyncio.sleep(0.05)


async def test_while_kafka_does_not_answer_nothing_is_accepted_and_nobody_waits_long(
    own_world: World, own_kafka: OwnKafka
) -> None:
    world = own_world
    await own_kafka.start()
    await world.create_topic()
    await traffic.settle(world)
    ingest = await world.start("ingest", kafka_ack_seconds=ACK_SECONDS)
    events = executions("ada", 300, period=world.period)
    assert (await world.send(events[:100]))["accepted"] == 100

    own_kafka.freeze()
    try:
        started = time.monotonic()
        _assert_unavailable(await _post(world, events[100:200]))
        assert time.monotonic() - started < ACK_SECONDS + 1
        started = time.monotonic()
        _assert_unavailable(await _post(world, events[100:200]))
        assert time.monotonic() - started < ACK_SECONDS
        assert (await world.http.get(f"{ingest.url}/health/ready")).status_code == 503
    finally:
        own_kafka.thaw()

    await _accepted_at_last(world, events[100:200])
    await ingest.ready(seconds=20)
    assert (await world.send(events[200:]))["accepted"] == 100
    assert set(await _ids_on_log(world)) == {event["id"] for event in events}
    await world.start("rater")
    await world.caught_up()
    assert (await world.totals()).events == {"ada": 300}
    assert await world.out_of_balance() == []


async def _accepted_at_last(world: World, events: list[Event]) -> None:
    """Send again, as a producer does, until it is taken."""
    async with asyncio.timeout(30):
        while (response := await _post(world, events)).status_code != 200:
            _assert_unavailable(response)
            await asyncio.sleep(0.2)
    assert response.json()["accepted"] == len(events)


async def test_what_waits_for_kafka_is_bounded(own_world: World, own_kafka: OwnKafka) -> None:
    world = own_world
    await own_kafka.start()
    await world.create_topic()
    _, calm = await world.create_key()
    await world.start("ingest", kafka_ack_seconds=ACK_SECONDS, max_pending_events=500)
    events = executions("ada", 1000, period=world.period)
    await world.send(events[:1], key=calm)
    await world.send(events[:1])
    own_kafka.freeze()
    refused = asyncio.Event()

    async def send(part: list[Event]) -> httpx.Response:
        response = await _post(world, part)
        refused.set()
        return response

    async def send_calmly() -> httpx.Response:
        await refused.wait()
        return await world.post(msgspec.json.encode(events[:100]), key=calm)

    try:
        *responses, calms = await asyncio.gather(
            *(send(events[first : first + 100]) for first in range(0, 1000, 100)), send_calmly()
        )
    finally:
        own_kafka.thaw()
    for response in responses:
        _assert_unavailable(response)
    too_many = [r for r in responses if "of this API key wait" in r.json()["detail"]]
    assert len(too_many) == 8
    _assert_unavailable(calms)
    assert "did not acknowledge" in calms.json()["detail"], "the other key had room"
    await _accepted_at_last(world, events[:100])


async def test_kafka_is_stopped_and_started_again(own_world: World, own_kafka: OwnKafka) -> None:
    world = own_world
    await own_kafka.start()
    await world.create_topic()
    ingest = await world.start("ingest", kafka_ack_seconds=ACK_SECONDS)
    events = executions("ada", 200, period=world.period)
    assert (await world.send(events[:100]))["accepted"] == 100
    await own_kafka.stop()
    _assert_unavailable(await _post(world, events[100:]))
    await own_kafka.start()
    await _accepted_at_last(world, events[100:])
    await ingest.ready(seconds=20)
    assert set(await _ids_on_log(world)) == {event["id"] for event in events}


async def test_ingest_is_killed_under_load(own_world: World, own_kafka: OwnKafka) -> None:
    """What was accepted is on the log; what was not is sent again, and billed once.

    Kafka stands still before each kill, so that some events are under way then.
    """
    world = own_world
    await own_kafka.start()
    await world.create_topic()
    await traffic.settle(world)
    await world.start("rater")
    ingest = await world.start("ingest")
    waiting = list(traffic.batches_of(world.period))
    accepted: set[str] = set()
    enough = asyncio.Event()

    def freeze() -> None:
        own_kafka.freeze()
        enough.set()

    for _ in range(3):
        enough.clear()
        sending = asyncio.create_task(
            _send_until_it_breaks(world, waiting, accepted, after=500, then=freeze)
        )
        await asyncio.wait_for(enough.wait(), 60)
        await asyncio.sleep(0.1)
        await ingest.kill()
        own_kafka.thaw()
        await sending
        assert accepted <= set(await _ids_on_log(world)), "accepted, but not on the log"
        ingest = await world.start("ingest")
    assert waiting, "everything was sent before the last kill; nothing was tested"
    await _send_until_it_breaks(world, waiting, accepted)
    assert not waiting
    await world.caught_up()
    totals = await world.totals()
    assert totals.amounts == traffic.expected_amounts()
    assert totals.events == traffic.COUNTS
    assert await world.out_of_balance() == []


async def _send_until_it_breaks(
    world: World,
    waiting: list[list[Event]],
    accepted: set[str],
    *,
    after: int | None = None,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Send batches four at a time; those that were not answered stay in `waiting`.

    Once `after` more events are accepted, `then` is called, between two answers.
    """
    goal = None if after is None else len(accepted) + after

    async def send() -> None:
        nonlocal goal
        while waiting:
            batch = waiting.pop(0)
            try:
                answer: dict[str, Any] = await world.send(batch)
            except httpx.TransportError:
                waiting.append(batch)
                return
            accepted.update(r["id"] for r in answer["results"] if r["verdict"] == "accepted")
            if goal is not None and len(accepted) >= goal:
                goal = None
                then()

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(send())


async def test_postgres_is_restarted_while_ingest_takes_events(world: World) -> None:
    """The keys that ingest knows stay in force; a new one works once Postgres is back."""
    ingest = await world.start("ingest")
    events = executions("ada", 1000, period=world.period)
    restarting = asyncio.create_task(world.restart_postgres())
    for first in range(0, 1000, 50):
        assert (await world.send(events[first : first + 50]))["accepted"] == 50
        await asyncio.sleep(0.05)
    await restarting
    _, key = await world.create_key()
    await asyncio.sleep(0.5)
    assert (await world.send(events[:1], key=key))["accepted"] == 1
    assert ingest.status is None


async def test_a_stop_lets_the_requests_under_way_finish(world: World) -> None:
    ingest = await world.start("ingest")
    waiting = list(traffic.batches_of(world.period))
    accepted: set[str] = set()
    enough = asyncio.Event()
    sending = asyncio.create_task(
        _send_until_it_breaks(world, waiting, accepted, after=500, then=enough.set)
    )
    await asyncio.wait_for(enough.wait(), 60)
    await ingest.stop()
    await sending
    assert waiting, "everything was sent before the stop; nothing was tested"
    on_log = set(await _ids_on_log(world))
    assert accepted == on_log, "a request that reached the log was not answered"
