"""A closed month gains no line item (I7), and only the rater writes any."""

import asyncio

import asyncpg
import pytest

from services.invoicer.closing import RaterBehindError, close_period, list_periods
from shared.errors import ConflictingStateError, UnavailableError
from shared.periods import Period
from shared.tables.invoicer import PeriodState
from tests.integration.harness.events import encoded, executions
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item


async def _close(world: World, period: Period | None = None, **settings: object) -> PeriodState:
    return await close_period(
        world.settings.model_copy(update={"close_wait_seconds": 0.5, **settings}),
        world.engine("tallybook_invoicer"),
        period or world.period,
        actor="tests",
        clock=lambda: world.period.end,
    )


async def _state(world: World) -> list[tuple[str, str]]:
    async with world.sessions("tallybook_invoicer") as session:
        return [(one.period, one.state) for one in await list_periods(session)]


async def _put(world: World, count: int, *, prefix: str = "") -> None:
    events = executions("acme", count, period=world.period, prefix=prefix)
    await world.produce([encoded(event) for event in events], key=b"acme")


async def test_a_close_waits_until_the_rater_has_passed_the_ends_of_the_log(world: World) -> None:
    await world.apply_catalogue()
    await world.add_customer("acme", "byok")
    await _put(world, 250)
    with pytest.raises(RaterBehindError, match="250 on partition"):
        await _close(world)
    assert await _state(world) == [(str(world.period), "closing")]

    closing = asyncio.create_task(_close(world, close_wait_seconds=60))
    await world.start("rater")
    closed = await closing
    assert (closed.state, closed.closed_at) == ("closed", world.period.end)
    assert sum((closed.end_offsets or {}).values()) == 250
    (row,) = await world.fetch("SELECT sum(quantity) AS quantity FROM line_items")
    assert row["quantity"] == 250


async def test_a_close_waits_for_fees_and_for_events_that_have_got_a_contract(
    world: World,
) -> None:
    await world.apply_catalogue()
    await world.start("rater")
    await _put(world, 5)
    await world.caught_up()
    (rater,) = world.processes
    await rater.stop()
    await world.add_customer("acme", "byok_pro")
    with pytest.raises(RaterBehindError, match="1 contracts' recurring fees"):
        await _close(world)
    await world.fetch("INSERT INTO contract_months SELECT id, $1 FROM contracts", str(world.period))
    with pytest.raises(RaterBehindError, match="5 events that waited for a contract"):
        await _close(world)


async def test_closing_again_changes_nothing_and_is_audited_once(world: World) -> None:
    first = await _close(world)
    again = await _close(world)
    assert (again.closed_at, again.end_offsets) == (first.closed_at, first.end_offsets)
    await asyncio.gather(*(_close(world, world.period.previous()) for _ in range(4)))
    entries = await world.fetch("SELECT subject FROM audit_entries WHERE act = 'period.close'")
    assert [row["subject"] for row in entries] == [
        str(world.period),
        str(world.period.previous()),
    ]


async def test_a_month_that_is_not_over_is_not_closed(world: World) -> None:
    with pytest.raises(ConflictingStateError, match="is not over before"):
        await _close(world, world.period.next())
    assert await _state(world) == []


async def test_without_its_topic_nothing_is_closed(world: World) -> None:
    """An empty log and one of a wrong name look alike, but only the first was all handled."""
    with pytest.raises(UnavailableError, match="there is no topic 'usage-elsewhere'"):
        await _close(world, usage_topic="usage-elsewhere")
    assert await _state(world) == []


async def test_a_closed_month_takes_no_line_item_from_anybody(world: World) -> None:
    await world.apply_catalogue()
    contract = await world.add_customer("acme", "byok")
    assert contract is not None
    await months.post(world, "acme", contract.id, [Item("5")])
    await _close(world)
    with pytest.raises(asyncpg.PostgresError, match="a closed period gains no line item") as error:
        await months.post(world, "acme", contract.id, [Item("5")])
    assert error.value.sqlstate == "TB001"
    assert await world.count("line_items") == 1


async def test_late_usage_goes_onto_the_next_months_invoice(world: World) -> None:
    await world.apply_catalogue()
    await world.add_customer("acme", "byok")
    await world.start("rater")
    await _put(world, 10)
    await world.caught_up()
    await _close(world)
    await _put(world, 3, prefix="late-")
    await world.caught_up()
    rows = await world.fetch(
        "SELECT posting_period, sum(quantity)::int AS quantity FROM line_items"
        " WHERE usage_period = $1 GROUP BY 1 ORDER BY 1",
        str(world.period),
    )
    assert [tuple(row) for row in rows] == [
        (str(world.period), 10),
        (str(world.period.next()), 3),
    ]


INSERT_LINE_ITEM = (
    "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
    " unit_price, amount, currency, usage_period, posting_period, kind) VALUES"
    " (1, 'acme', 'c', 'executions', 'all', 1, 1, 1, 'USD', '2026-01', '2026-01', 'usage')"
)


@pytest.mark.parametrize(
    "statement",
    [
        INSERT_LINE_ITEM,
        "UPDATE line_items SET amount = 0",
        "DELETE FROM line_items",
        "TRUNCATE line_items",
        "UPDATE events SET contract_id = NULL",
        "UPDATE offsets SET next = 0",
        "INSERT INTO customers VALUES ('x', 'x', 'x@x', 'USD', now())",
        "DELETE FROM invoice_line_items",
        "DELETE FROM invoices",
        "UPDATE invoice_lines SET amount_minor = 0",
        "UPDATE audit_entries SET actor = 'nobody'",
    ],
)
async def test_the_invoicers_role_writes_no_books_but_its_own(world: World, statement: str) -> None:
    async with world.connect("tallybook_invoicer") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_months_are_closed_in_their_order(world: World) -> None:
    """What stands in a month before would be on no invoice."""
    await world.apply_catalogue()
    before = world.period.previous()
    contract = await world.add_customer("acme", "byok", starts_at=before.start)
    assert contract is not None
    async with world.connect() as connection:
        await connection.execute(
            "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
            " unit_price, amount, currency, usage_period, posting_period, kind)"
            " VALUES (1, 'acme', $1, 'executions', 'all', 1, 1, 1, 'USD', $2, $2, 'usage')",
            contract.id,
            str(before),
        )
    with pytest.raises(ConflictingStateError, match=f"{before} has usage or fees and is not"):
        await _close(world)
