"""A source that falls silent is told of once; a rater that is behind is no silence."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.alerts.silences import SilenceWatch, raise_silences
from shared.rhythms import Rhythm
from tests.integration.harness.events import encoded, execution
from tests.integration.harness.world import World

START = datetime(2026, 10, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def hear(
    world: World, source: str, *moments: datetime, happened: timedelta = timedelta(0)
) -> None:
    """Write events that came at these moments, some time after they happened."""
    async with world.connect() as connection:
        await connection.executemany(
            "INSERT INTO events (source, id, type, customer_id, time, data, digest, partition,"
            " log_offset, received_at, batch_id) VALUES"
            " ($1, $2, 'job', 'acme', $3, '{}', '', 0, 0, $4, 1)",
            [(source, one.isoformat(), one - happened, one) for one in moments],
        )


def minutes(first: int, last: int) -> list[datetime]:
    return [START + MINUTE * number for number in range(first, last + 1)]


STEADY = minutes(-300, 0)
"""Once a minute up to the start: 10 minutes of silence are usual, by the least there can be."""


class Watched:
    """A watch whose clock stands where a test puts it."""

    def __init__(self, world: World) -> None:
        self.now = START
        self.engine: AsyncEngine = world.engine("tallybook_invoicer")
        self._watch = SilenceWatch(world.settings, self.engine, lambda: self.now, patience=0)

    async def look(self, after: timedelta) -> list[str]:
        """Look, that long after the start."""
        self.now = START + after
        return await self._watch.look()


async def told(world: World) -> list[dict[str, Any]]:
    rows = await world.fetch("SELECT type, subject, data FROM outbox ORDER BY occurred_at, key")
    assert {row["type"] for row in rows} <= {"source.silent"}
    assert await world.count("silences_raised") == len(rows)
    return [msgspec.json.decode(row["data"]) for row in rows]


@contextmanager
def reads_of_events(engine: AsyncEngine) -> Iterator[list[str]]:
    """Collect the statements that read events."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if " events " in statement:
            found.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def test_each_silence_is_told_of_once(world: World) -> None:
    await hear(world, "steady", *STEADY)
    watch = Watched(world)
    assert await watch.look(0 * MINUTE) == []
    assert await watch.look(10 * MINUTE) == []
    assert await watch.look(11 * MINUTE) == ["steady"]
    assert await watch.look(12 * MINUTE) == []
    assert await Watched(world).look(13 * MINUTE) == []
    await hear(world, "steady", *minutes(30, 40))
    assert await watch.look(45 * MINUTE) == []
    assert await watch.look(65 * MINUTE) == ["steady"]
    assert await watch.look(130 * MINUTE) == []
    assert await told(world) == [
        {"source": "steady", "silent_since": moment, "longest_usual_silence_seconds": 600}
        for moment in ("2026-10-15T12:00:00Z", "2026-10-15T12:40:00Z")
    ]


async def test_a_source_that_seldom_spoke_gives_none(world: World) -> None:
    await hear(world, "rare", *minutes(-9, 0))
    watch = Watched(world)
    assert await watch.look(0 * MINUTE) == []
    assert await watch.look(timedelta(days=2)) == []
    assert await told(world) == []


async def test_nothing_is_read_while_every_source_may_still_be_heard(world: World) -> None:
    await hear(world, "steady", *STEADY)
    watch = Watched(world)
    await watch.look(0 * MINUTE)
    with reads_of_events(watch.engine) as reads:
        await watch.look(10 * MINUTE)
        assert reads == []
        await hear(world, "steady", START + 9 * MINUTE)
        assert await watch.look(15 * MINUTE) == []
        assert ["max(received_at)" in one for one in reads] == [True]
        assert await watch.look(19 * MINUTE) == []
        assert len(reads) == 1
        assert await watch.look(20 * MINUTE) == ["steady"]
        assert len(reads) > 1
        reads.clear()
        await watch.look(25 * MINUTE)
        assert reads == []


async def test_events_that_come_long_after_they_happened_are_heard(world: World) -> None:
    """The quick look misses them; before a source is called silent all of it is read."""
    await hear(world, "slow", *STEADY, happened=timedelta(hours=5))
    watch = Watched(world)
    await watch.look(0 * MINUTE)
    await hear(world, "slow", START + 6 * MINUTE, happened=timedelta(hours=5))
    assert await watch.look(12 * MINUTE) == []
    assert await watch.look(17 * MINUTE) == ["slow"]


async def test_while_the_rater_is_behind_no_source_is_silent(world: World) -> None:
    await hear(world, "steady", *STEADY)
    await world.produce([encoded(execution("acme", "x", time=START))], partition=0)
    watch = Watched(world)
    assert await watch.look(20 * MINUTE) == []
    assert await told(world) == []
    await world.fetch("INSERT INTO offsets VALUES ($1, 0, 1)", world.settings.usage_topic)
    assert await watch.look(21 * MINUTE) == ["steady"]


async def test_while_kafka_is_away_no_source_is_silent(world: World) -> None:
    await hear(world, "steady", *STEADY)
    settings = world.settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    engine = world.engine("tallybook_invoicer")
    assert await SilenceWatch(settings, engine, lambda: START + 20 * MINUTE).look() == []
    assert await told(world) == []


async def test_what_is_rolled_back_was_not_told(world: World) -> None:
    silent = {"s": Rhythm(START, 10 * MINUTE)}
    for ends, new in (("rollback", ["s"]), ("commit", ["s"]), ("commit", [])):
        async with world.sessions("tallybook_invoicer") as session:
            assert await raise_silences(session, silent, START) == new
            await getattr(session, ends)()
    assert len(await told(world)) == 1
