"""Closing and posting cannot interleave (I7): they are raced a thousand times."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from services.invoicer import closing
from services.rater import ledger, months, rating
from services.rater.corrections import voiding
from services.rater.rating import Rating
from services.rater.rules import Rules, load_rules
from services.rater.terms import PostingState
from shared.database import Connection, Pool, open_pool
from shared.events import TimeLimits
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import SOURCE, encoded, execution
from tests.integration.harness.world import World
from tests.services.rater.factories import LogRecord

RACES = 1_000
LEAST = 100
"""How often, at the least, each of the two must come first."""
LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)
USAGE, FEE = Decimal("0.002"), Decimal("19.00")

Standing = dict[str, tuple[int, Decimal]]
"""Count and sum of the line items, by the month that they are posted to."""
Posting = Callable[[], Awaitable[object]]


@dataclass
class Race:
    """A world in which one thing at a time is posted, and the month closed, at once."""

    world: World
    rating: Rating
    rater: Pool
    superuser: Connection
    rated: int = 0
    voidable: list[str] = field(default_factory=list)
    contracts: int = 0

    # what posts

    async def use(self) -> None:
        number, topic = self.rated, self.world.settings.usage_topic
        event = execution("acme", f"run-{number}", time=self.world.period.start)
        received = int(self.world.period.end.timestamp() * 1000)
        record = LogRecord(encoded(event), number, topic=topic, timestamp=received)
        await self.rating.handle([[record]], {(topic, 0): number})
        self.rated += 1
        self.voidable.append(event["id"])

    async def void(self) -> None:
        async with self.world.sessions("tallybook_rater") as session:
            await voiding.void_event(
                session,
                source=SOURCE,
                event_id=self.voidable.pop(),
                reason="a race",
                actor="tests",
                now=datetime.now(UTC),
            )

    async def open_a_month(self) -> None:
        assert await months.open_months(self.rater, self.world.period.start) == 1

    async def something(self, chance: random.Random) -> tuple[Posting, Decimal]:
        """Choose what is posted next, and say what it comes to."""
        lot = chance.random()
        if lot < 0.1 and self.voidable:
            return self.void, -USAGE
        if lot < 0.2:
            self.contracts += 1
            await self.world.add_customer(f"customer-{self.contracts}", "byok_pro")
            return self.open_a_month, FEE
        return self.use, USAGE

    # what closes

    async def almost_close(self) -> None:
        """Put the month where a close has all but locked it, also after it was closed."""
        await self.superuser.execute(
            "INSERT INTO periods (period, state, closing_at) VALUES ($1, 'closing', now())"
            " ON CONFLICT (period) DO UPDATE SET state = 'closing', closed_at = NULL",
            str(self.world.period),
        )

    async def close(self) -> Standing:
        """Lock the month; give what stands posted right after."""
        engine = self.world.engine("tallybook_invoicer")
        await closing._lock(engine, self.world.period, "tests", lambda: datetime.now(UTC))
        return await self.standing()

    # what stands

    async def standing(self) -> Standing:
        rows = await self.superuser.fetch(
            "SELECT posting_period::text AS month, count(*) AS count, sum(amount) AS amount"
            " FROM line_items GROUP BY 1"
        )
        found = {row["month"]: (row["count"], row["amount"]) for row in rows}
        assert found.keys() <= {self.month, self.next_month}
        return {month: found.get(month, (0, Decimal(0))) for month in (self.month, self.next_month)}

    @property
    def month(self) -> str:
        return str(self.world.period)

    @property
    def next_month(self) -> str:
        return str(self.world.period.next())

    async def waits(self, close: asyncio.Task[Standing]) -> None:
        """Wait until the close waits for a lock; fail where it does not."""
        async with asyncio.timeout(30), self.world.connect() as connection:
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'tallybook_invoicer' AND wait_event_type = 'Lock'"
            ):
                assert not close.done(), "the close has not waited"
                await asyncio.sleep(0.005)


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
            made = Race(world, Rating(pool, LIMITS), pool, superuser)
            await made.almost_close()
            yield made


async def test_a_thousand_races_between_a_posting_and_a_close(race: Race) -> None:
    """What is posted to the month when its close returns is all that ever is."""
    chance = random.Random(20261125)  # jitter, the same in every run
    posted_first = closed_first = 0
    for _ in range(RACES):
        await race.almost_close()
        post, amount = await race.something(chance)
        start = await race.standing()
        posting = asyncio.create_task(_after(chance.uniform(0, 0.004), post))
        closed = await _after(chance.uniform(0, 0.004), race.close)
        await posting
        end = await race.standing()
        assert end[race.month] == closed[race.month], "the closed month has changed"
        count, total = start[race.month]
        if end[race.month] == (count + 1, total + amount):
            assert end[race.next_month] == start[race.next_month]
            posted_first += 1
        else:
            count, late = start[race.next_month]
            assert end[race.month] == start[race.month], "half of it is in the closed month"
            assert end[race.next_month] == (count + 1, late + amount)
            closed_first += 1
    assert min(posted_first, closed_first) >= LEAST, "one always won: there was no race"
    assert min(race.rated, race.contracts) >= LEAST // 2
    assert await race.world.out_of_balance() == []


async def _after(delay: float, act: Callable[[], Awaitable[Any]]) -> Any:
    await asyncio.sleep(delay)
    return await act()


async def test_a_close_waits_for_a_posting_that_has_begun(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stopped_before_its_commit(monkeypatch) as (written, may_commit):
        posting = asyncio.create_task(race.use())
        await written.wait()
        close = asyncio.create_task(race.close())
        await race.waits(close)
        may_commit.set()
        await posting
    closed = await close
    assert closed[race.month] == (1, USAGE)
    assert await race.standing() == closed


async def test_without_the_lock_in_common_a_closed_month_is_posted_to(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before the close and is committed after it, Postgres' guard lets pass."""
    monkeypatch.setattr(rating, "begin_posting", begin_without_lock)
    with stopped_before_its_commit(monkeypatch) as (written, may_commit):
        posting = asyncio.create_task(race.use())
        await written.wait()
        closed = await race.close()
        may_commit.set()
        await posting
    assert closed[race.month] == (0, Decimal(0))
    assert (await race.standing())[race.month] == (1, USAGE)


async def test_without_the_lock_in_common_postgres_refuses_what_comes_after_the_close(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The posting has read which months are closed, and writes only after the close."""
    closed = asyncio.Event()

    async def without_lock(connection: Connection, rules: Rules) -> PostingState:
        state = await begin_without_lock(connection, rules)
        begun.set()
        await closed.wait()
        return state

    begun = asyncio.Event()
    monkeypatch.setattr(rating, "begin_posting", without_lock)
    posting = asyncio.create_task(race.use())
    await begun.wait()
    await race.close()
    closed.set()
    with pytest.raises(asyncpg.PostgresError, match="a closed period gains no line item"):
        await posting


@contextlib.contextmanager
def stopped_before_its_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """Stop the rater when all is written: gives the event that says so, and the one to go on."""
    written, may_commit = asyncio.Event(), asyncio.Event()
    write_batch_log = ledger.write_batch_log

    async def write_and_wait(*arguments: Any) -> None:
        await write_batch_log(*arguments)
        written.set()
        await may_commit.wait()

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write_batch_log", write_and_wait)
        try:
            yield written, may_commit
        finally:
            may_commit.set()


async def begin_without_lock(connection: Connection, rules: Rules) -> PostingState:
    """What `begin_posting` does, but for the lock."""
    state = await load_rules(connection, rules)
    batch_id = await connection.fetchval("SELECT nextval('batch_ids')")
    return PostingState(batch_id, state.closed)
