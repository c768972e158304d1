"""Walks as in `test_books_walk`, with the rater killed at set moments and the log sent again.

There chance says when a kill falls; here it falls before and after the very commit. Months are
closed as finance closes them, while usage is on its way, and all that was ever sent comes anew.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from services.invoicer import closing
from tests.integration.conftest import OpenWorld
from tests.integration.test_books_walk import MONTHS, RATER, Walk

WRITTEN = ["offsets", "events", "batches"]
"""What every batch writes: at the beginning, in the midst and at the end of its transaction."""


class HardWalk(Walk):
    """A walk whose mishaps fall where they can do the most harm."""

    async def kill_before_the_commit(self) -> None:
        """Hold the rater at a table, kill it there: nothing of its transaction may stay."""
        await self.world.caught_up()
        async with self.world.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(f"LOCK TABLE {self.chance.choice(WRITTEN)} IN EXCLUSIVE MODE")
            stored = await connection.fetchval("SELECT count(*) FROM events")
            await self.use()
            await self._until(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'tallybook_rater' AND wait_event_type = 'Lock')"
            )
            await self.rater.kill()
            await transaction.rollback()
        assert await self.world.count("events") == stored
        await self._start_the_rater()

    async def kill_after_the_commit(self) -> None:
        """Kill it as soon as all is stored, before it can tell Kafka anything."""
        await self.use()
        await self._until(f"SELECT (SELECT count(*) FROM events) = {len(self.sent)}")
        await self.rater.kill()
        await self._start_the_rater()

    async def send_all_again(self) -> None:
        """Put the whole log onto the log once more, as a producer that lost its place."""
        records = defaultdict(list)
        for record in await self.world.log_records():
            records[record.key].append(record.value)
        for key, values in records.items():
            await self.world.produce(values, key=key)
        self.changed *= 2
        self.rubbish *= 2

    async def close_the_next_month(self) -> None:
        """Close it while usage is on its way and the rater is not there: the close waits."""
        month = MONTHS[len(self.closed)]
        await self.rater.kill()
        await self.use()
        await self._start_the_rater()
        await closing.close_period(
            self.world.settings.model_copy(update={"close_wait_seconds": 60}),
            self.world.engine("tallybook_invoicer"),
            month,
            actor="walk",
            clock=lambda: datetime.now(UTC),
        )
        self.closed[str(month)] = await self._posted_to(str(month))
        assert await self.world.count("events") == len(self.sent)

    async def _start_the_rater(self) -> None:
        self.rater = await self.world.start("rater", wait=False, **RATER)

    async def _until(self, query: str) -> None:
        async with asyncio.timeout(60), self.world.connect() as connection:
            while not await connection.fetchval(query):
                assert self.rater.status is None, self.rater.last_lines()
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("seed", range(2))
async def test_the_books_equal_a_count_from_scratch_wherever_it_is_killed(
    new_world: OpenWorld, seed: int
) -> None:
    chance = random.Random(seed)  # a walk by lot, the same in every run
    async with new_world() as world:
        walk = await HardWalk.begin(world, chance)
        acts: list[Callable[[], Awaitable[None]]] = [
            *[walk.use] * 5,
            *[walk.send_what_adds_nothing] * 3,
            walk.send_all_again,
            *[walk.kill_before_the_commit] * 6,
            *[walk.kill_after_the_commit] * 4,
            *[walk.change_a_contract] * 9,
            *[walk.void_one] * 6,
            *[walk.void_a_range] * 2,
            *[walk.close_the_next_month] * 2,
            *[walk.rate_again] * 2,
        ]
        chance.shuffle(acts)
        for number, act in enumerate(acts, 1):
            await act()
            if number % 4 == 0:
                await walk.compare()
