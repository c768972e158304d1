"""Closing and posting cannot interleave (I7): they are raced a thousand times."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest

from services.invoicer import closing
from services.rater import rating
from services.rater.rating import Rating
from services.rater.rules import Rules, load_rules
from services.rater.terms import PostingState
from shared.database import Connection, Pool, open_pool
from shared.events import TimeLimits
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import encoded, execution
from tests.integration.harness.world import World
from tests.services.rater.factories import LogRecord

RACES = 1_000
LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)


@dataclass
class Race:
    """A world in which one event at a time is posted, and the month closed, at once."""

    world: World
    rating: Rating
    rater: Pool
    superuser: Connection
    posted: int = 0

    async def post(self, delay: float) -> None:
        await asyncio.sleep(delay)
        world, number = self.world, self.posted
        event = execution("acme", f"run-{number}", time=world.period.start)
        topic = world.settings.usage_topic
        received = int(world.period.end.timestamp() * 1000)
        record = LogRecord(encoded(event), number, topic=topic, timestamp=received)
        await self.rating.handle([record], {(topic, 0): number})
        self.posted += 1

    async def close(self, delay: float) -> tuple[int, Decimal]:
        """Lock the month; give what stands posted to it right after."""
        await asyncio.sleep(delay)
        engine = self.world.engine("tallybook_invoicer")
        await closing._lock(engine, self.world.period, "tests", lambda: datetime.now(UTC))
        return await self.stands()

    async def stands(self) -> tuple[int, Decimal]:
        row = await self.superuser.fetchrow(
            "SELECT count(*) AS count, coalesce(sum(amount), 0) AS amount FROM line_items"
            " WHERE posting_period = $1",
            str(self.world.period),
        )
        assert row is not None
        return row["count"], row["amount"]

    async def set_state(self) -> None:
        """Put the month where a close has all but locked it."""
        await self.superuser.execute(
            "INSERT INTO periods (period, state, closing_at) VALUES ($1, 'closing', now())"
            " ON CONFLICT (period) DO UPDATE SET state = 'closing', closed_at = NULL",
            str(self.world.period),
        )


@pytest.fixture
async def race(new_world: OpenWorld) -> AsyncIterator[Race]:
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("acme", "byok")
        await world.fetch(
            "INSERT INTO offsets (topic, partition, next) VALUES ($1, 0, 0)",
            world.settings.usage_topic,
        )
        pool = await open_pool(world.settings, "tallybook_rater", size=1)
        async with pool, world.connect() as superuser:
            yield Race(world, Rating(pool, LIMITS), pool, superuser)


async def test_a_thousand_races_between_a_posting_and_a_close(race: Race) -> None:
    """What is posted to the month when its close returns is all that ever is."""
    chance = random.Random(20261125)  # jitter, the same in every run
    before = after = 0
    for _ in range(RACES):
        await race.set_state()
        count, _ = await race.stands()
        posting = asyncio.create_task(race.post(chance.uniform(0, 0.004)))
        closed = await race.close(chance.uniform(0, 0.004))
        await posting
        assert await race.stands() == closed
        before += closed[0] > count
        after += closed[0] == count
    assert before + after == race.posted == RACES
    assert min(before, after) >= RACES // 20, "one always won: there was no race"
    total = await race.superuser.fetchval("SELECT sum(amount) FROM line_items")
    assert total == RACES * Decimal("0.002")
    assert await race.world.out_of_balance() == []


async def test_without_the_lock_in_common_the_race_is_lost(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The posting reads which months are closed, and the close comes before it commits.

    Postgres' own guard then refuses what would have gone into the closed month.
    """
    closed = asyncio.Event()

    async def without_lock(connection: Connection, rules: Rules) -> PostingState:
        state = await begin_without_lock(connection, rules)
        await closed.wait()
        return state

    monkeypatch.setattr(rating, "begin_posting", without_lock)
    await race.set_state()
    posting = asyncio.create_task(race.post(0))
    await asyncio.sleep(0.05)
    await race.close(0)
    closed.set()
    with pytest.raises(asyncpg.PostgresError, match="a closed period gains no line item"):
        await posting


async def begin_without_lock(connection: Connection, rules: Rules) -> PostingState:
    """What `begin_posting` does, but for the lock."""
    state = await load_rules(connection, rules)
    batch_id = await connection.fetchval("SELECT nextval('batch_ids')")
    return PostingState(batch_id, state.closed)
