"""Alerts are raised once, at the bound and not before, on what the month's invoice will say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from services.invoicer.alerts import book, evaluating
from services.invoicer.alerts.adding import Wanted
from services.invoicer.alerts.evaluating import Evaluator, raise_alerts
from services.invoicer.alerts.reaching import Measure, Measured, Reached
from services.invoicer.alerts.spending import Spending
from services.invoicer.alerts.usage_reading import read_usage
from services.invoicer.carrying import Minimums
from services.invoicer.notifying.delivery.pruning import prune
from services.invoicer.notifying.delivery.taking import fan_out
from services.invoicer.planning import read_drafts
from services.rater.corrections import voiding
from services.rater.usage.month import whole_quantities
from services.rater.usage.reading import read_month
from shared.database import POSTING_LOCK, Role
from shared.periods import Period
from shared.tables.alerts import Alert
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import SOURCE, Event, encoded, execution, executions
from tests.integration.harness.world import World

SHARED = """
meters:
  users: {event_type: ai.execution.finished, aggregate: unique_count, property: key_label}
  longest: {event_type: ai.execution.finished, aggregate: max, property: output_tokens}
  jobs: {event_type: ai.execution.finished, aggregate: count}
plans:
  first: &plan
    version: 1
    name: First
    currency: USD
    charges:
      - {code: users, model: unit, meter: users, unit_price: 1}
      - {code: longest, model: unit, meter: longest, unit_price: 0.001}
      - {code: jobs, model: unit, meter: jobs, unit_price: 0.5}
  second: *plan
"""


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world with a rater, in which each test has customers and alerts of its own."""
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start("rater")
        yield made


async def put(world: World, *events: Event) -> None:
    await world.produce(map(encoded, events), key=events[0]["subject"].encode())
    await world.caught_up()


async def use(world: World, customer: str, count: int, *, first: int = 0) -> None:
    await put(world, *executions(customer, count, period=world.period, first=first))


async def void(world: World, event_id: str) -> None:
    async with world.sessions("tallybook_rater") as session:
        await voiding.void_event(
            session,
            source=SOURCE,
            event_id=event_id,
            reason="a test",
            actor="tests",
            now=datetime.now(UTC),
        )


async def add(
    world: World, customer: str | None = None, *, at: Sequence[str] = (), **terms: Any
) -> Alert:
    wanted = Wanted(world.period, customer, at=[Decimal(one) for one in at], **terms)
    async with world.sessions("tallybook_invoicer") as session:
        return await book.add_alert(session, wanted, actor="tests", now=datetime.now(UTC))


async def remove(world: World, alert: Alert) -> None:
    async with world.sessions("tallybook_invoicer") as session:
        await book.remove_alert(session, alert.id, actor="tests", now=datetime.now(UTC))


async def evaluate(world: World, evaluator: Evaluator | None = None) -> list[tuple[str, str]]:
    """Evaluate once; give customer and threshold of what was raised."""
    made = evaluator or Evaluator(world.engine("tallybook_invoicer"))
    return [(one.customer_id, f"{one.threshold:f}") for one in await made.evaluate()]


async def raised(world: World, alert: Alert) -> list[tuple[str, str, str]]:
    """Give what stands raised, which must be what is in the outbox."""
    rows = await world.fetch(
        "SELECT customer_id, period::text, threshold::text FROM alerts_raised"
        " WHERE alert_id = $1 ORDER BY 1, 2, threshold",
        alert.id,
    )
    assert len(await told(world, alert)) == len(rows)
    return [tuple(row) for row in rows]


async def told(world: World, alert: Alert) -> list[dict[str, Any]]:
    rows = await world.fetch(
        "SELECT type, subject, data FROM outbox WHERE data ->> 'alert' = $1 ORDER BY key", alert.id
    )
    assert {row["type"] for row in rows} <= {"usage.threshold_reached"}
    found = [msgspec.json.decode(row["data"]) for row in rows]
    assert [one["customer"] for one in found] == [row["subject"] for row in rows]
    return found


# at the bound -------------------------------------------------------------------------------------


async def test_just_below_raises_nothing_and_the_next_event_raises_once(world: World) -> None:
    await world.add_customer("edge", "byok")
    spend = await add(world, "edge", at=["0.02"])
    usage = await add(world, "edge", meter="executions", at=["10"])
    evaluator = Evaluator(world.engine("tallybook_invoicer"))
    await use(world, "edge", 9)
    assert await evaluate(world, evaluator) == []
    await use(world, "edge", 1, first=9)
    assert sorted(await evaluate(world, evaluator)) == [("edge", "0.02"), ("edge", "10")]
    await use(world, "edge", 5, first=10)
    assert await evaluate(world, evaluator) == []
    assert await evaluate(world) == []
    assert await raised(world, usage) == [("edge", str(world.period), "10")]
    assert await told(world, spend) == [
        {
            "alert": spend.id,
            "customer": "edge",
            "period": str(world.period),
            "on": "spend",
            "currency": "USD",
            "meter": None,
            "threshold": "0.02",
            "reached": "0.02",
            "budget": None,
            "percent": None,
        }
    ]


async def test_an_alert_whose_notice_is_gone_is_not_raised_again(world: World) -> None:
    await world.add_customer("forgotten", "byok")
    alert = await add(world, "forgotten", meter="executions", at=["1"])
    await use(world, "forgotten", 2)
    assert await evaluate(world) == [("forgotten", "1")]
    engine = world.engine("tallybook_invoicer")
    await fan_out(engine, datetime.now(UTC))
    assert await prune(engine, datetime.now(UTC) + timedelta(days=2), days=1) > 0
    assert await told(world, alert) == []
    await use(world, "forgotten", 1, first=2)
    assert await evaluate(world) == []
    assert await told(world, alert) == []


async def test_several_percents_crossed_at_once_give_one_notice_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "_AT_ONCE", 2)
    await world.add_customer("many", "byok")
    percents = [Decimal(one) for one in ("50", "80", "100", "120")]
    alert = await add(world, "many", meter="executions", budget=Decimal(10), percents=percents)
    await use(world, "many", 11)
    assert await evaluate(world) == [("many", "50"), ("many", "80"), ("many", "100")]
    found = await told(world, alert)
    assert {(one["percent"], one["threshold"], one["budget"], one["reached"]) for one in found} == {
        ("50", "5", "10", "11"),
        ("80", "8", "10", "11"),
        ("100", "10", "10", "11"),
    }
    await use(world, "many", 1, first=11)
    assert await evaluate(world) == [("many", "120")]


async def test_a_recurring_fee_is_due_and_counts(world: World) -> None:
    alert = await add(world, None, currency="USD", at=["19", "19.001"])
    await world.add_customer("fee", "byok_pro")
    await world.caught_up()
    assert await evaluate(world) == [("fee", "19"), ("fee", "19")]
    months = [str(world.period), str(world.period.next())]
    assert await raised(world, alert) == [("fee", month, "19") for month in months]
    await remove(world, alert)


async def test_a_rule_for_all_reaches_a_customer_who_comes_later(world: World) -> None:
    alert = await add(world, meter="output_tokens", at=["500"])
    await evaluate(world)
    before = {one[0] for one in await raised(world, alert)}
    await world.add_customer("late", "byok")
    await use(world, "late", 1)
    assert await evaluate(world) == [("late", "500")]
    assert before | {"late"} == {one[0] for one in await raised(world, alert)}
    await remove(world, alert)


# once ---------------------------------------------------------------------------------------------


async def test_below_by_a_void_and_above_again_is_not_raised_again(world: World) -> None:
    await world.add_customer("void", "byok")
    alerts = [
        await add(world, "void", at=["0.006"]),
        await add(world, "void", meter="executions", at=["3"]),
    ]
    evaluator = Evaluator(world.engine("tallybook_invoicer"))
    await use(world, "void", 3)
    assert len(await evaluate(world, evaluator)) == 2
    await void(world, "void-000001")
    assert await evaluate(world, evaluator) == []
    await use(world, "void", 4, first=3)
    assert await evaluate(world, evaluator) == []
    for alert in alerts:
        assert len(await raised(world, alert)) == 1


async def test_a_new_month_raises_anew(world: World) -> None:
    await world.add_customer("month", "byok")
    alert = await add(world, "month", meter="executions", at=["2"])
    await use(world, "month", 2)
    assert await evaluate(world) == [("month", "2")]
    now = datetime.now(UTC)
    await put(world, *(execution("month", f"now-{number}", time=now) for number in range(2)))
    assert await evaluate(world) == [("month", "2")]
    months = [str(world.period), str(Period.of(now))]
    assert [month for _, month, _ in await raised(world, alert)] == months


async def test_an_alert_added_late_raises_at_once_and_one_removed_no_more(world: World) -> None:
    await world.add_customer("when", "byok")
    await use(world, "when", 3)
    first = await add(world, "when", meter="executions", at=["2", "5"])
    assert await evaluate(world) == [("when", "2")]
    await remove(world, first)
    await use(world, "when", 3, first=3)
    assert await evaluate(world) == []
    again = await add(world, "when", meter="executions", at=["2", "5"])
    assert await evaluate(world) == [("when", "2"), ("when", "5")]
    assert len(await raised(world, first)) == 1
    assert len(await raised(world, again)) == 2


async def reach(world: World, customer: str) -> tuple[Alert, list[Reached]]:
    """Let a customer reach a threshold that nobody has evaluated yet."""
    await world.add_customer(customer, "byok")
    await use(world, customer, 1)
    alert = await add(world, customer, meter="executions", at=["1"])
    rule = book.rule_of(alert)
    return alert, [Reached(rule, customer, str(world.period), Decimal(1), Decimal(1))]


async def test_what_is_rolled_back_leaves_neither_row_and_is_raised_later(world: World) -> None:
    alert, reached = await reach(world, "crash")
    async with world.sessions("tallybook_invoicer") as session:
        assert await raise_alerts(session, reached, datetime.now(UTC)) == reached
        await session.rollback()
    assert await raised(world, alert) == []
    assert await evaluate(world) == [("crash", "1")]
    assert len(await raised(world, alert)) == 1


async def test_of_two_that_raise_at_once_one_does(world: World) -> None:
    alert, reached = await reach(world, "race")
    now = datetime.now(UTC)
    async with (
        world.sessions("tallybook_invoicer") as first,
        world.sessions("tallybook_invoicer") as second,
    ):
        assert await raise_alerts(first, reached, now) == reached
        waiting = asyncio.create_task(raise_alerts(second, reached, now))
        await asyncio.sleep(0)
        await first.commit()
        assert await waiting == []
        await second.commit()
    assert len(await raised(world, alert)) == 1


async def test_many_evaluators_at_once_raise_each_once(world: World) -> None:
    alert, _ = await reach(world, "crowd")
    found = await asyncio.gather(*(evaluate(world) for _ in range(4)))
    assert [one for each in found for one in each] == [("crowd", "1")]
    assert len(await raised(world, alert)) == 1


async def test_what_is_removed_while_it_is_evaluated_is_not_raised(world: World) -> None:
    alert, reached = await reach(world, "gone")
    await remove(world, alert)
    async with world.sessions("tallybook_invoicer") as session:
        assert await raise_alerts(session, reached, datetime.now(UTC)) == []


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("tallybook_rater", "INSERT INTO silences_raised VALUES ('s', now(), now())"),
        ("tallybook_ingest", "UPDATE alerts SET removed_at = now()"),
        ("tallybook_invoicer", "DELETE FROM alerts_raised"),
        ("tallybook_invoicer", "UPDATE alerts SET thresholds = '{1}'"),
    ],
)
async def test_no_other_service_writes_alerts_and_none_takes_back(
    world: World, role: Role, statement: str
) -> None:
    async with world.connect(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


# what is measured ---------------------------------------------------------------------------------


async def read_spend(world: World, spending: Spending, month: Period) -> dict[Measured, Decimal]:
    async with world.sessions("tallybook_invoicer") as session:
        return await spending.read(session, [str(month)])


async def test_spend_is_the_sum_of_what_will_be_on_the_invoice(world: World) -> None:
    await world.add_customer("sum", "byok_pro")
    spending = Spending()
    for number in range(3):
        await use(world, "sum", 7, first=7 * number)
        spent = await read_spend(world, spending, world.period)
        async with world.sessions("tallybook_invoicer") as session:
            drafts = {
                Measured(draft.key.customer_id, draft.key.period, Measure(None, "USD")): sum(
                    line.exact_amount for line in draft.lines
                )
                for draft in await read_drafts(session, world.period, Minimums.read(None))
            }
        assert spent == drafts
        key = Measured("sum", str(world.period), Measure(None, "USD"))
        assert spent[key] == 19 + Decimal("0.007") * (number + 1)
    months = [str(world.period), str(world.period.next())]
    async with world.sessions("tallybook_invoicer") as session:
        both = await spending.read(session, months)
        assert both == await Spending().read(session, months)
    assert both.items() > spent.items()


INSERT = """
    INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity, unit_price,
        amount, currency, usage_period, posting_period, kind)
    SELECT 0, customer_id, id, 'executions', 'all', 1, $2, $2, 'USD', $3, $3, 'usage'
    FROM contracts WHERE customer_id = $1
"""


async def test_what_is_committed_behind_a_later_posting_is_counted_too(world: World) -> None:
    """Ids do not become visible in their order: the lower may come after the higher."""
    await world.add_customer("order", "byok")
    month = str(world.period)
    key = Measured("order", month, Measure(None, "USD"))
    spending = Spending(patience=0.1)
    async with world.connect("tallybook_rater") as slow, world.connect("tallybook_rater") as fast:
        under_way = slow.transaction()
        await under_way.start()
        await slow.execute("SELECT pg_advisory_xact_lock_shared($1)", POSTING_LOCK)
        await slow.execute(INSERT, "order", Decimal(1), month)
        await fast.execute(INSERT, "order", Decimal(10), month)
        assert (await read_spend(world, spending, world.period))[key] == 10
        assert (await read_spend(world, spending, world.period))[key] == 10
        await under_way.commit()
        assert (await read_spend(world, spending, world.period))[key] == 11
        await fast.execute(INSERT, "order", Decimal(100), month)
    assert (await read_spend(world, spending, world.period))[key] == 111
    assert (await read_spend(world, Spending(), world.period))[key] == 111


async def test_quantities_of_a_switched_customer_are_what_usage_says(world: World) -> None:
    """Contracts that share a month add up, or have the highest, or what is distinct."""
    await world.apply_catalogue(SHARED)
    await world.add_customer("switch", "first")
    half = world.period.start + timedelta(days=10)
    await world.switch_contract("switch", "second", half)
    labels = ["a", "b", "a", "c"]
    await put(
        world,
        *(
            execution("switch", f"switch-{number}", time=half + timedelta(days=number - 2),
                      key_label=label, output_tokens=100 * (number + 1))
            for number, label in enumerate(labels)
        ),
    )  # fmt: skip
    async with world.sessions("tallybook_rater") as session:
        expected = whole_quantities(await read_month(session, "switch", world.period))
    meters = ["users", "longest", "jobs"]
    async with world.sessions("tallybook_invoicer") as session:
        found = await read_usage(session, [str(world.period)], meters, ["switch"])
    assert {key.measure.meter: quantity for key, quantity in found.items()} == {
        meter: expected[meter] for meter in meters
    }
    assert [expected[meter] for meter in meters] == [3, 400, 4]


# which months -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def closed(world: World, at: datetime) -> AsyncIterator[None]:
    """Have the world's month closed since a moment."""
    await world.fetch(
        "INSERT INTO periods VALUES ($1, 'closed', '{}', $2, $2)", str(world.period), at
    )
    try:
        yield
    finally:
        await world.fetch("DELETE FROM periods")


async def test_a_closed_month_is_looked_at_for_a_day_more_and_no_longer(world: World) -> None:
    await world.add_customer("closed", "byok")
    await add(world, "closed", meter="executions", at=["1", "2"])
    engine, at = world.engine("tallybook_invoicer"), datetime.now(UTC)
    async with closed(world, at):
        assert await evaluate(world, Evaluator(engine, lambda: at)) == []
        await use(world, "closed", 1)
        soon = Evaluator(engine, lambda: at + timedelta(hours=23))
        assert await evaluate(world, soon) == [("closed", "1")]
        await use(world, "closed", 1, first=1)
        later = Evaluator(engine, lambda: at + timedelta(days=1, seconds=1))
        assert await evaluate(world, later) == []
        assert await evaluate(world, soon) == [("closed", "2")]


async def test_a_month_that_nobody_looked_at_since_its_close_is_looked_at_however_late(
    world: World,
) -> None:
    await world.add_customer("away", "byok")
    await use(world, "away", 1)
    usage = await add(world, "away", meter="executions", at=["1", "2"])
    spend = await add(world, "away", at=["0.002"])
    engine, at = world.engine("tallybook_invoicer"), datetime.now(UTC)
    async with closed(world, at):
        back = Evaluator(engine, lambda: at + timedelta(days=3))
        assert sorted(await evaluate(world, back)) == [("away", "0.002"), ("away", "1")]
        await use(world, "away", 1, first=1)
        await evaluate(world, back)
    assert await raised(world, usage) == [("away", str(world.period), "1")]
    assert (await raised(world, spend))[0] == ("away", str(world.period), "0.002")
    await remove(world, usage)


async def test_a_look_that_began_before_the_close_is_not_the_last(world: World) -> None:
    await world.add_customer("between", "byok")
    await add(world, "between", meter="executions", at=["1"])
    engine, at = world.engine("tallybook_invoicer"), datetime.now(UTC)
    async with contextlib.AsyncExitStack() as stack:

        class Slow(Evaluator):
            async def _reached(self, *given: Any) -> list[Reached]:
                found = await super()._reached(*given)
                await use(world, "between", 1)
                await stack.enter_async_context(closed(world, at))
                return found

        assert await evaluate(world, Slow(engine)) == []
        back = Evaluator(engine, lambda: at + timedelta(days=3))
        assert await evaluate(world, back) == [("between", "1")]


async def test_late_usage_is_spent_in_the_month_on_whose_invoice_it_is(world: World) -> None:
    await world.add_customer("tardy", "byok")
    async with closed(world, datetime.now(UTC)):
        await use(world, "tardy", 1)
        spend = await add(world, "tardy", at=["0.002"])
        usage = await add(world, "tardy", meter="executions", at=["1"])
        assert len(await evaluate(world)) == 2
    assert await raised(world, spend) == [("tardy", str(world.period.next()), "0.002")]
    assert await raised(world, usage) == [("tardy", str(world.period), "1")]


async def test_a_month_before_the_alerts_first_is_not_looked_at(world: World) -> None:
    await world.add_customer("since", "byok")
    await use(world, "since", 1)
    wanted = Wanted(world.period.next(), "since", "executions", at=[Decimal(1)])
    async with world.sessions("tallybook_invoicer") as session:
        await book.add_alert(session, wanted, actor="tests", now=datetime.now(UTC))
    assert await evaluate(world) == []
