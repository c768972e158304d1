"""The clients through restarts of ingest, the rater and the producer: each event billed once."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.client import AsyncClient, BufferFullError, Client, Metrics, Options
from tests.integration.harness.events import Event, executions
from tests.integration.harness.world import World

ROOT = Path(__file__).parents[2]
KILLS = 3
SHARE = 1000
"""Events that each client records around one kill."""
STEP = 20

Record = Callable[[Sequence[Event]], Awaitable[None]]


def options(**more: Any) -> Options:
    """Little room and short waits, so that every kill finds events under way."""
    return Options(batch_events=50, batch_seconds=0.01, longest_wait=0.3, **more)


def buffers(directory: Path) -> dict[str, Options]:
    """Give the options for each way to keep events."""
    return {
        "block": options(max_events=300),
        "raise": options(max_events=300, when_full="raise"),
        "spill": options(spill=directory),
    }


async def produce(record: Record, events: list[Event], gates: Sequence[asyncio.Event]) -> None:
    """Record events steadily, a share behind each gate.

    What found no room is recorded again, under its id.
    """
    share = len(events) // len(gates)
    for number, gate in enumerate(gates):
        await gate.wait()
        for first in range(number * share, (number + 1) * share, STEP):
            while True:
                try:
                    await record(events[first : first + STEP])
                    break
                except BufferFullError:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.01)


def assert_it_was_disturbed_and_took_all(counts: Metrics) -> None:
    assert counts.retries > 0, "no kill was noticed; nothing was tested"
    assert (counts.rejected, counts.refused, counts.queued) == ({}, 0, 0)


async def use_sync(
    world: World, given: Options, events: list[Event], gates: Sequence[asyncio.Event]
) -> None:
    client = await asyncio.to_thread(Client, world.settings.ingest_url, world.producer_key, given)
    try:

        async def record(some: Sequence[Event]) -> None:
            await asyncio.to_thread(client.record_many, some)

        await produce(record, events, gates)
        assert await asyncio.to_thread(client.flush, 60)
    finally:
        await asyncio.to_thread(client.close)
    assert_it_was_disturbed_and_took_all(client.metrics())


async def use_async(
    world: World, given: Options, events: list[Event], gates: Sequence[asyncio.Event]
) -> None:
    async with AsyncClient(world.settings.ingest_url, world.producer_key, given) as client:

        async def record(some: Sequence[Event]) -> None:
            await client.record_many(some)

        await produce(record, events, gates)
        assert await client.flush(60)
        assert_it_was_disturbed_and_took_all(client.metrics())


async def assert_each_is_billed_once(world: World, events: Sequence[Event]) -> None:
    await world.caught_up()
    rows = await world.fetch("SELECT id, count(*) AS rows FROM events GROUP BY id")
    stored = {row["id"]: row["rows"] for row in rows}
    lost = {event["id"] for event in events} - stored.keys()
    doubled = [name for name, count in stored.items() if count != 1]
    assert (len(lost), len(doubled), len(stored)) == (0, 0, len(events))
    assert await world.count("dead_letters") == 0
    assert await world.out_of_balance() == []
    amounts = (await world.totals()).amounts
    assert amounts == {("ada", "executions"): len(events) * Decimal("0.002")}


async def test_clients_of_each_kind_survive_kills_of_ingest_and_rater(
    world: World, tmp_path: Path
) -> None:
    await world.apply_catalogue()
    await world.add_customer("ada", "byok")
    ingest, rater = await asyncio.gather(world.start("ingest"), world.start("rater"))
    everything: list[Event] = []
    gates = [asyncio.Event() for _ in range(KILLS)]
    async with asyncio.TaskGroup() as group:
        for name, use in (("sync", use_sync), ("async", use_async)):
            for buffer, given in buffers(tmp_path / name).items():
                prefix = f"{name}-{buffer}-"
                events = executions("ada", KILLS * SHARE, period=world.period, prefix=prefix)
                everything += events
                group.create_task(use(world, given, events, gates))
        for gate in gates:
            gate.set()
            await asyncio.sleep(0.2)
            await asyncio.gather(ingest.kill(), rater.kill())
            await asyncio.sleep(0.2)
            ingest, rater = await asyncio.gather(world.start("ingest"), world.start("rater"))
    await assert_each_is_billed_once(world, everything)


PRODUCER = """
import json, sys
from pathlib import Path
from shared.client import Client, Metrics, Options
url, key, directory, journal = sys.argv[1:]
given = Options(batch_events=20, batch_seconds=0.01, longest_wait=0.2, spill=Path(directory))
client = Client(url, key, given)
events = json.loads(sys.stdin.read())
with open(journal, "a", buffering=1) as recorded:
    for event in events:
        client.record(event)
        recorded.write(event["id"] + "\\n")
client.close(60)
"""


async def test_what_record_returned_for_outlives_the_producer(world: World, tmp_path: Path) -> None:
    """Killed at any moment, the producer goes on with the first event not known as recorded."""
    await world.apply_catalogue()
    await world.add_customer("ada", "byok")
    await asyncio.gather(world.start("ingest"), world.start("rater"))
    events = executions("ada", 3000, period=world.period)
    journal = tmp_path / "journal"
    killed = 0
    while (first := _recorded(journal)) < len(events):
        process = await _start_producer(world, tmp_path, events[first:])
        if killed < KILLS:
            async with asyncio.timeout(60):
                while _recorded(journal) < first + 400:
                    assert process.returncode is None, "it ended before it could be killed"
                    await asyncio.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
            await process.wait()
        else:
            async with asyncio.timeout(60):
                assert await process.wait() == 0
    assert killed == KILLS
    await assert_each_is_billed_once(world, events)


def _recorded(journal: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return journal.read_bytes().count(b"\n")
    return 0


async def _start_producer(
    world: World, directory: Path, events: Sequence[Event]
) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PRODUCER, world.settings.ingest_url, world.producer_key),
        *(str(directory / "spill"), str(directory / "journal")),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(events).encode())
    process.stdin.close()
    return process


async def test_a_rejected_event_is_told_and_never_sent_again(world: World) -> None:
    await world.start("ingest")
    told: list[str] = []
    given = options(on_rejected=lambda one: told.append(one.code))
    async with AsyncClient(world.settings.ingest_url, world.producer_key, given) as client:
        (event,) = executions("ada", 1, period=world.period)
        await client.record_many([event, {**event, "id": "old", "time": "2001-01-01T00:00:00Z"}])
        await client.record({**event, "id": "bad", "data": {}})
        assert await client.flush(30)
        counts = client.metrics()
    assert sorted(told) == ["invalid_data", "too_old"]
    assert (counts.accepted, counts.queued) == (1, 0)
