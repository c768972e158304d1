"""What must always hold of the books, at every commit; and that each check can fail."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from services.rater.copy_rows import rows_of
from services.rater.rating import Rating
from shared.database import Role, open_pool
from shared.events import TimeLimits
from tests.integration.conftest import OpenWorld
from tests.integration.harness import traffic
from tests.integration.harness.books import (
    Connection,
    Totals,
    read_totals,
    what_does_not_balance,
)
from tests.integration.harness.events import encoded, executions
from tests.integration.harness.world import World
from tests.services.rater.factories import LogRecord

APPEND_ONLY = ("line_items", "audit_entries")


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world whose month of traffic has been rated."""
    async with new_world() as made:
        await traffic.settle(made)
        await made.start("rater", rater_batch_records=100)
        await traffic.put_on_log(made)
        await made.caught_up()
        yield made


@pytest.fixture
async def superuser(world: World) -> AsyncIterator[Connection]:
    """A superuser's connection in a transaction that is rolled back."""
    async with world.connect() as connection:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        yield connection
        await transaction.rollback()


async def test_line_items_are_the_price_of_the_events_at_every_commit(new_world: OpenWorld) -> None:
    """Looks as often as it can while small batches are rated, a switch among them (I4)."""
    async with new_world() as world:
        await traffic.settle(world)
        rater = await world.start("rater", rater_batch_records=20)
        working = asyncio.create_task(_work(world))
        states: set[int] = set()
        async with world.connect() as connection:
            while not working.done():
                assert await what_does_not_balance(connection) == []
                states.add(await connection.fetchval("SELECT count(*) FROM line_items"))
                await asyncio.sleep(0.005)
        await working
        assert len(states) > 20, "too few commits were looked at"
        assert await world.out_of_balance() == []
        assert rater.status is None


async def _work(world: World) -> None:
    await traffic.put_on_log(world)
    await world.switch_contract("ada", "tiered", world.period.start.replace(day=15))
    await world.add_customer("unknown", "basic")
    await world.caught_up()


DAMAGE = {
    "posted twice": (
        "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
        " unit_price, amount, currency, usage_period, posting_period, kind)"
        " SELECT batch_id, customer_id, contract_id, charge, band, quantity, unit_price, amount,"
        " currency, usage_period, posting_period, kind FROM line_items"
        " WHERE charge = 'executions' LIMIT 1"
    ),
    "lost": (
        "DELETE FROM line_items"
        " WHERE id = (SELECT max(id) FROM line_items WHERE charge = 'executions')"
    ),
    "off by a hundredth of a cent": (
        "UPDATE line_items SET amount = amount + 0.0001"
        " WHERE id = (SELECT max(id) FROM line_items WHERE charge = 'executions')"
    ),
    "no event behind it": (
        "DELETE FROM events WHERE (source, id) = (SELECT source, id FROM events"
        " WHERE contract_id IS NOT NULL AND data->>'status' = 'succeeded' LIMIT 1)"
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_the_check_of_the_balance_finds_one_wrong_posting(
    world: World, superuser: Connection, damage: str
) -> None:
    before = await read_totals(superuser, world.period)
    assert await what_does_not_balance(superuser) == []
    await superuser.execute("ALTER TABLE line_items DISABLE TRIGGER USER")
    await superuser.execute(damage)
    assert len(await what_does_not_balance(superuser)) == 1
    assert await read_totals(superuser, world.period) != before


async def test_redelivery_of_the_whole_log_changes_nothing_as_events_are_unique(
    new_world: OpenWorld,
) -> None:
    """Breaks the two guards of I2 one after the other: only without both is anything billed twice.

    The offsets in the books are the first guard, the key of the events table the second.
    """
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("again", "byok")
        await world.produce(map(encoded, executions("again", 50, period=world.period)))
        once = await _rate_from_the_start(world)
        assert once.amounts == {("again", "executions"): Decimal("0.100")}

        assert await _rate_from_the_start(world) == once
        assert await world.out_of_balance() == []

        await world.fetch("DELETE FROM events")
        assert (await _rate_from_the_start(world)).amounts != once.amounts
        assert len(await world.out_of_balance()) == 1


async def test_what_is_known_is_taken_out_wherever_it_stands_in_a_large_batch(
    new_world: OpenWorld,
) -> None:
    """A batch is stored part by part; a repeat in its last part undoes the parts before."""
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("many", "byok")
        events = [encoded(event) for event in executions("many", 6_000, period=world.period)]
        topic = world.settings.usage_topic
        await world.fetch("INSERT INTO offsets (topic, partition, next) VALUES ($1, 0, 0)", topic)
        received = int(world.period.end.timestamp() * 1000)
        following = {(topic, 0): 0}
        async with await open_pool(world.settings, "tallybook_rater", size=1) as pool:
            rating = Rating(pool, TimeLimits(max_age_days=90, max_skew_seconds=300))
            for batch in (events[:10], events[10:] + events[:20], events[:10], events[3:9]):
                records = [
                    LogRecord(value, following[topic, 0] + number, topic=topic, timestamp=received)
                    for number, value in enumerate(batch)
                ]
                following = await rating.handle([records], following)
        totals = await world.totals()
        assert totals.events == {"many": 6_000}
        assert totals.amounts == {("many", "executions"): 12}
        assert await world.out_of_balance() == []
        rows = await world.fetch("SELECT stored, duplicates FROM batches ORDER BY first_offset")
        assert [tuple(row) for row in rows] == [(10, 0), (5_990, 20), (0, 10), (0, 6)]


async def test_a_fault_while_rows_are_sent_is_told_at_once(
    new_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Postgres has refused a row by then; nothing hangs, and the next batch goes."""
    async with new_world() as world:
        topic = world.settings.usage_topic
        await world.fetch("INSERT INTO offsets (topic, partition, next) VALUES ($1, 0, 0)", topic)
        events = [encoded(event) for event in executions("many", 6_000, period=world.period)]
        received = int(world.period.end.timestamp() * 1000)
        records = [
            LogRecord(value, offset, topic=topic, timestamp=received)
            for offset, value in enumerate(events[:10] + events)
        ]
        async with await open_pool(world.settings, "tallybook_rater", size=1) as pool:
            rating = Rating(pool, TimeLimits(max_age_days=90, max_skew_seconds=300))
            await rating.handle([records[:10]], {(topic, 0): 0})
            with monkeypatch.context() as patch:
                patch.setattr("services.rater.rating.rows_of", _at_the_third_call(RuntimeError))
                async with asyncio.timeout(60):
                    with pytest.raises(RuntimeError):
                        await rating.handle([records[10:]], {(topic, 0): 10})
            await rating.handle([records[10:]], {(topic, 0): 10})
        assert (await world.totals()).events == {"many": 6_000}


def _at_the_third_call(error: type[Exception]) -> Callable[..., bytes]:
    """Write rows twice, the second time slowly, and fail from then on."""
    calls = 0

    def write(*arguments: Any) -> bytes:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise error
        time.sleep(0.5 * (calls - 1))  # by then Postgres has refused what it had
        return rows_of(*arguments)

    return write


async def _rate_from_the_start(world: World) -> Totals:
    """Set the books' offsets back to the log's start, as no one should, and rate."""
    await world.fetch("DELETE FROM batches")
    await world.fetch("DELETE FROM offsets")
    rater = await world.start("rater")
    await world.caught_up()
    await rater.stop()
    return await world.totals()


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET id = DEFAULT", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
async def test_even_a_superuser_cannot_change_what_is_append_only(
    superuser: Connection, table: str, statement: str
) -> None:
    with pytest.raises(asyncpg.RaiseError, match=f"{table} is append-only"):
        await superuser.execute(statement.format(table))


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_without_its_trigger_it_could_be_changed(superuser: Connection, table: str) -> None:
    await superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    assert await superuser.execute(f"UPDATE {table} SET id = DEFAULT") != "UPDATE 0"


_POST = (
    "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
    " unit_price, amount, currency, usage_period, posting_period, kind)"
    " SELECT 0, customer_id, id, 'executions', 'all', 1, 1, 1, 'USD', $1, $2, 'usage'"
    " FROM contracts LIMIT 1"
)


_HANDLED = "INSERT INTO batches VALUES (0, 'no.topic', 0, 10, 20, $1, $2, $3, $4, $5)"


@pytest.mark.parametrize(
    "counts",
    [(10, 7, 1, 1, 1), (0, 0, 0, 0, 0), (6, 6, 0, 0, 0)],
    ids=["every offset", "a gap alone", "with a gap"],
)
async def test_what_became_of_a_range_of_offsets_is_noted(
    superuser: Connection, counts: tuple[int, ...]
) -> None:
    assert await superuser.execute(_HANDLED, *counts) == "INSERT 0 1"


@pytest.mark.parametrize(
    "counts",
    [(11, 11, 0, 0, 0), (10, -1, 6, 5, 0), (10, 11, 0, -1, 0), (-1, 0, 0, 0, -1), (10, 9, 0, 0, 0)],
    ids=["more than offsets", "one twice", "below zero", "none and less", "one missing"],
)
async def test_and_not_otherwise_than_can_have_been(
    superuser: Connection, counts: tuple[int, ...]
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await superuser.execute(_HANDLED, *counts)


async def _close(connection: Connection, world: World) -> None:
    await connection.execute(
        "INSERT INTO periods (period, state, closing_at, closed_at)"
        " VALUES ($1, 'closed', now(), now())",
        str(world.period),
    )


async def test_a_closed_period_gains_no_line_item(world: World, superuser: Connection) -> None:
    month = str(world.period)
    assert await superuser.execute(_POST, month, month) == "INSERT 0 1"
    await _close(superuser, world)
    async with superuser.transaction():
        await superuser.execute(_POST, month, str(world.period.next()))
    with pytest.raises(asyncpg.PostgresError, match="a closed period gains no line item") as error:
        await superuser.execute(_POST, month, month)
    assert error.value.sqlstate == "TB001"


async def test_usage_that_comes_after_the_close_posts_to_the_next_month(
    new_world: OpenWorld,
) -> None:
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("late", "byok")
        await world.start("rater")
        await _put(world, 10, first=0)
        async with world.connect("tallybook_invoicer") as connection:
            await _close(connection, world)
        await _put(world, 5, first=10)
        rows = await world.fetch(
            "SELECT posting_period::text AS month, sum(amount) AS amount FROM line_items"
            " WHERE usage_period = $1 GROUP BY 1 ORDER BY 1",
            str(world.period),
        )
        assert [(row["month"], row["amount"]) for row in rows] == [
            (str(world.period), Decimal("0.020")),
            (str(world.period.next()), Decimal("0.010")),
        ]
        assert await world.out_of_balance() == []


async def _put(world: World, count: int, *, first: int) -> None:
    events = executions("late", count, period=world.period, first=first)
    await world.produce(map(encoded, events))
    await world.caught_up()


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("tallybook_invoicer", "INSERT INTO line_items DEFAULT VALUES"),
        ("tallybook_invoicer", "UPDATE line_items SET amount = 0"),
        ("tallybook_invoicer", "DELETE FROM line_items"),
        ("tallybook_invoicer", "UPDATE events SET contract_id = NULL"),
        ("tallybook_invoicer", "UPDATE contracts SET ends_at = now()"),
        ("tallybook_invoicer", "UPDATE offsets SET next = 0"),
        ("tallybook_ingest", "INSERT INTO events DEFAULT VALUES"),
        ("tallybook_ingest", "UPDATE invoices SET state = 'paid'"),
        ("tallybook_ingest", "INSERT INTO line_items DEFAULT VALUES"),
        ("tallybook_rater", "INSERT INTO invoices DEFAULT VALUES"),
        ("tallybook_rater", "INSERT INTO periods (period) VALUES ('2026-01')"),
        ("tallybook_rater", "UPDATE line_items SET amount = 0"),
        ("tallybook_rater", "DELETE FROM line_items"),
        ("tallybook_rater", "DELETE FROM events"),
        ("tallybook_rater", "UPDATE events SET data = '{}'"),
        ("tallybook_rater", "UPDATE dead_letters SET payload = NULL"),
        ("tallybook_rater", "UPDATE plan_versions SET definition = '{}'"),
        ("tallybook_rater", "UPDATE audit_entries SET actor = 'nobody'"),
        ("tallybook_rater", "UPDATE api_keys SET revoked_at = NULL"),
    ],
)
async def test_a_service_cannot_write_another_ones_table_nor_history(
    world: World, role: Role, statement: str
) -> None:
    async with world.connect(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_a_role_can_write_what_is_its_own(world: World) -> None:
    """The refusals above come from the role: the rater may do this, and so may a superuser."""
    statement = "UPDATE offsets SET next = next"
    for role in ("tallybook_rater", None):
        async with world.connect(role) as connection:
            await connection.execute(statement)
