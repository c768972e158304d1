"""kill -9 of ingest, Kafka and the rater at random moments under load: nothing is lost or doubled.

A few kills in `make test`, twenty with `HYPOTHESIS_PROFILE=nightly`.
"""

import asyncio
import itertools
import random
from collections import Counter
from pathlib import Path

import httpx
import msgspec
from hypothesis import settings

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import Event, billable, executions
from tests.integration.harness.own_kafka import OwnKafka
from tests.integration.harness.processes import ServiceProcess
from tests.integration.harness.world import World

KILLS = 20 if settings().max_examples >= 2_000 else 4
CUSTOMERS = [f"customer-{number}" for number in range(20)]
SENDERS = 4
BATCH = 20
PAUSE_SECONDS = 0.01
AT_LEAST_BETWEEN = 500
ACK_SECONDS = 1.5
PATIENCE_SECONDS = 60


class Load:
    """Sends batches until told to stop, each again until it was accepted whole."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = itertools.count()
        self.stopping = False
        self.sent: dict[str, Event] = {}
        self.accepted: set[str] = set()
        self._goal = 0
        self._reached = asyncio.Event()

    async def run(self) -> None:
        """Send; return once all that was begun is accepted."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send())

    async def _send(self) -> None:
        while not self.stopping:
            number = next(self._number)
            batch = executions(
                CUSTOMERS[number % len(CUSTOMERS)],
                BATCH,
                period=self._world.period,
                failed_every=7,
                prefix=f"{number}-",
            )
            self.sent |= {event["id"]: event for event in batch}
            async with asyncio.timeout(PATIENCE_SECONDS):
                accepted = await self._accepted(batch)
                while not accepted:
                    await asyncio.sleep(0.05)
                    accepted = await self._accepted(batch)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _accepted(self, batch: list[Event]) -> bool:
        try:
            response = await self._world.post(msgspec.json.encode(batch))
        except httpx.TransportError:
            return False
        if response.status_code == 503:
            return False
        assert response.status_code == 200, response.text
        self.accepted |= {
            one["id"] for one in response.json()["results"] if one["verdict"] == "accepted"
        }
        if len(self.accepted) >= self._goal:
            self._reached.set()
        return True

    async def goes_on(self) -> None:
        """Wait until so much more is accepted that the load is known to be under way."""
        self._goal = len(self.accepted) + AT_LEAST_BETWEEN
        self._reached.clear()
        await asyncio.wait_for(self._reached.wait(), PATIENCE_SECONDS)


async def test_killed_at_random_under_load(new_world: OpenWorld, data_directory: Path) -> None:
    async with (
        OwnKafka(data_directory / "killed-kafka") as kafka,
        new_world(kafka=kafka.address) as world,
    ):
        await kafka.start()
        await world.create_topic()
        await world.apply_catalogue()
        for customer in CUSTOMERS:
            await world.add_customer(customer, "byok")
        running = {
            "ingest": await world.start("ingest", kafka_ack_seconds=ACK_SECONDS),
            "rater": await world.start("rater"),
        }
        load = Load(world)
        sending = asyncio.create_task(load.run())
        chance = random.Random()
        for _ in range(KILLS):
            await load.goes_on()
            await asyncio.sleep(chance.uniform(0, 0.3))
            victim = chance.choice(["ingest", "ingest", "kafka", "rater"])
            await _kill_and_start(world, victim, running, kafka)
        await load.goes_on()
        load.stopping = True
        await sending
        await world.caught_up()
        await _assert_each_billed_once(world, load)


async def _kill_and_start(
    world: World, victim: str, running: dict[str, ServiceProcess], kafka: OwnKafka
) -> None:
    if victim == "kafka":
        await kafka.kill()
        await kafka.start()
    elif victim == "ingest":
        await running[victim].kill()
        running[victim] = await world.start("ingest", kafka_ack_seconds=ACK_SECONDS)
    else:
        await running[victim].kill()
        running[victim] = await world.start("rater")


async def _assert_each_billed_once(world: World, load: Load) -> None:
    assert load.accepted == set(load.sent)
    records = await world.log_records()
    on_log = {msgspec.json.decode(record.value or b"")["id"] for record in records}
    assert load.accepted - on_log == set(), "accepted, but not on the log"
    stored = Counter(row["id"] for row in await world.fetch("SELECT id FROM events"))
    assert stored == Counter(load.sent.keys())
    [billed] = await world.fetch(
        "SELECT sum(quantity) AS quantity FROM line_items WHERE charge = 'executions'"
    )
    assert billed["quantity"] == billable(list(load.sent.values()))
    assert await world.out_of_balance() == []
