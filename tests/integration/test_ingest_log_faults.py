"""What ingest says while a part of Kafka is broken: a full disk, no leader of a partition (I1)."""

import asyncio
from pathlib import Path

import httpx
import msgspec

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import Event, executions
from tests.integration.harness.own_kafka import OwnKafka
from tests.integration.harness.second_broker import SecondBroker, create_shared_topic
from tests.integration.harness.world import World

ACK_SECONDS = 1.5
LARGEST_FILE = 200_000
PATIENCE_SECONDS = 60


async def _post(world: World, events: list[Event]) -> httpx.Response:
    return await world.post(msgspec.json.encode(events))


async def _accepted_at_last(world: World, events: list[Event]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (response := await _post(world, events)).status_code != 200:
            assert response.status_code == 503, response.text
            await asyncio.sleep(0.2)
    assert response.json()["accepted"] == len(events)


async def _ids_on_log(world: World) -> set[str]:
    records = await world.log_records()
    return {msgspec.json.decode(record.value or b"")["id"] for record in records}


async def test_kafkas_disk_is_full(new_world: OpenWorld, data_directory: Path) -> None:
    """Kafka takes what fits and ends itself; once it has room again, so does ingest go on."""
    async with (
        OwnKafka(data_directory / "full-kafka") as kafka,
        new_world(kafka=kafka.address) as world,
    ):
        await kafka.start()
        await world.create_topic()
        ingest = await world.start("ingest", kafka_ack_seconds=ACK_SECONDS)
        kafka.fill_disk(LARGEST_FILE)
        waiting = executions("ada", 3000, period=world.period)
        accepted: set[str] = set()
        while (response := await _post(world, waiting[:100])).status_code == 200:
            accepted.update(one["id"] for one in response.json()["results"])
            waiting = waiting[100:]
        assert accepted, "nothing fitted; nothing was tested"
        assert waiting, "everything fitted; nothing was tested"
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert not kafka.runs

        await kafka.start()
        await _accepted_at_last(world, waiting[:100])
        await ingest.ready(seconds=20)
        assert accepted <= await _ids_on_log(world)


async def test_a_partition_has_no_leader(new_world: OpenWorld, data_directory: Path) -> None:
    """Its customers' events are refused, those of others taken; it recovers by itself."""
    async with OwnKafka(data_directory / "first-broker") as first:
        await first.start()
        async with (
            SecondBroker(data_directory / "second-broker", first) as second,
            new_world(kafka=first.address) as world,
        ):
            await second.start()
            await create_shared_topic(world.settings)
            await world.start("ingest", kafka_ack_seconds=ACK_SECONDS)
            names = [f"customer-{n}" for n in range(40)]
            events = {name: executions(name, 300, period=world.period) for name in names}
            await asyncio.gather(*(_accepted_at_last(world, events[name][:100]) for name in names))

            await second.kill()
            answers = await asyncio.gather(*(_post(world, events[name][100:200]) for name in names))
            refused = {n for n, a in zip(names, answers, strict=True) if a.status_code == 503}
            taken = {n for n, a in zip(names, answers, strict=True) if a.status_code == 200}
            assert refused | taken == set(names)
            assert refused
            assert taken

            await second.start()
            await asyncio.gather(*(_accepted_at_last(world, events[name][100:]) for name in names))
            on_log = await _ids_on_log(world)
            assert on_log == {event["id"] for name in names for event in events[name]}
