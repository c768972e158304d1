"""Events that are taken back, and months that are rated again: line items undo, never change."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.rater.corrections import rerating, voiding
from services.rater.corrections.voiding import Voided
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.events import SOURCE, Event, encoded, execution, executions
from tests.integration.harness.traffic import TIERED
from tests.integration.harness.world import World

METERS = """
meters:
  jobs: {event_type: com.example.job, aggregate: count, dimensions: [region]}
  peak_workers: {event_type: com.example.job, aggregate: max, property: workers}
  people: {event_type: com.example.job, aggregate: unique_count, property: person}
  hours: {event_type: com.example.job, aggregate: sum, property: hours}
plans:
  jobs:
    version: 1
    name: Jobs
    currency: USD
    charges:
      - {code: peak, model: unit, meter: peak_workers, unit_price: 10}
      - {code: seats, model: graduated, meter: people, tiers: [
          {up_to: 2, unit_price: 5, flat_fee: 1}, {up_to: null, unit_price: 4, flat_fee: 0}]}
      - {code: hours, model: volume, meter: hours, free_units: 1, minimum_spend: 3, tiers: [
          {up_to: 5, unit_price: 2}, {up_to: null, unit_price: 1.5}]}
      - {code: jobs, model: package, meter: jobs, package_size: 3, package_price: 7,
         maximum_spend: 20, discount_percent: 50}
      - {code: base, model: flat, amount: 11}
"""


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world with a rater, in which each test has a customer of its own."""
    async with new_world() as made:
        await made.apply_catalogue()
        await made.apply_catalogue(TIERED)
        await made.apply_catalogue(METERS)
        await made.start("rater")
        yield made


def job(customer: str, number: int, at: datetime, **data: Any) -> Event:
    return {
        "specversion": "1.0",
        "id": f"{customer}-job-{number}",
        "source": "jobs",
        "type": "com.example.job",
        "subject": customer,
        "time": (at + timedelta(hours=number)).isoformat(),
        "data": data,
    }


async def put(world: World, *events: Event) -> None:
    await world.produce(map(encoded, events), key=events[0]["subject"].encode())
    await world.caught_up()


async def void(world: World, event_id: str, source: str = SOURCE) -> Voided:
    async with world.sessions("tallybook_rater") as session:
        return await voiding.void_event(
            session,
            source=source,
            event_id=event_id,
            reason="sent by mistake",
            actor="tests",
            now=datetime.now(UTC),
        )


async def charges(world: World, customer: str) -> dict[str, Decimal]:
    rows = await world.fetch(
        "SELECT charge, sum(amount) AS amount FROM line_items WHERE customer_id = $1"
        " AND usage_period = $2 GROUP BY 1",
        customer,
        str(world.period),
    )
    return {row["charge"]: row["amount"] for row in rows}


async def findings(world: World, customer: str | None = None) -> list[rerating.Finding]:
    async with world.sessions("tallybook_rater") as session:
        await rerating.begin_snapshot(session)
        return (await rerating.check_books(session, customer, None)).findings


async def test_a_voided_event_costs_nothing_also_across_a_tiers_edge(world: World) -> None:
    await world.add_customer("edge", "tiered")
    await put(world, *executions("edge", 101, period=world.period))
    assert await charges(world, "edge") == {"executions": Decimal("1.005")}
    await void(world, "edge-000000")
    assert await charges(world, "edge") == {"executions": Decimal(1)}
    undone = await void(world, "edge-000001")
    (item,) = undone.items
    assert (item.band, item.quantity, item.kind) == ("0 to 100", Decimal(-1), "adjustment")
    assert item.corrects is not None
    assert await charges(world, "edge") == {"executions": Decimal("0.99")}
    (kept,) = await world.fetch("SELECT * FROM voids WHERE event_id = 'edge-000001'")
    assert (kept["reason"], kept["voided_by"], kept["batch_id"]) == (
        "sent by mistake",
        "tests",
        undone.batch_id,
    )
    audit = await world.fetch("SELECT after FROM audit_entries WHERE subject LIKE '%edge-000001'")
    assert len(audit) == 1
    assert await findings(world, "edge") == []
    assert await world.out_of_balance() == []


async def test_what_was_voided_stays_so_when_it_is_sent_again(world: World) -> None:
    await world.add_customer("stays", "byok")
    events = executions("stays", 3, period=world.period)
    await put(world, *events)
    await void(world, "stays-000001")
    await put(world, *events)
    assert await charges(world, "stays") == {"executions": Decimal("0.004")}
    right = execution("stays", "stays-1-again", time=world.period.start)
    await put(world, right)
    assert await charges(world, "stays") == {"executions": Decimal("0.006")}


async def test_an_event_that_waits_for_a_contract_can_be_voided_too(world: World) -> None:
    await put(world, *executions("waits", 2, period=world.period))
    assert (await void(world, "waits-000000")).items == []
    await world.add_customer("waits", "byok")
    await world.caught_up()
    assert await charges(world, "waits") == {"executions": Decimal("0.002")}


async def test_all_events_of_a_source_in_a_range(world: World) -> None:
    await world.add_customer("range", "byok_pro")
    start = world.period.start
    events = [
        execution("range", f"r-{day}", time=start + timedelta(days=day), source="broken/agent")
        for day in range(10)
    ]
    await put(world, *events, execution("range", "other", time=start))
    async with world.sessions("tallybook_rater") as session:
        voided = await voiding.void_events(
            session,
            source="broken/agent",
            since=start + timedelta(days=2),
            until=start + timedelta(days=5),
            reason="the agent looped",
            actor="tests",
            now=datetime.now(UTC),
        )
    assert voided.events == 3
    assert (await charges(world, "range"))["executions"] == Decimal("0.008")
    rows = await world.fetch("SELECT event_id FROM voids WHERE source = 'broken/agent' ORDER BY 1")
    assert [row["event_id"] for row in rows] == ["r-2", "r-3", "r-4"]


async def test_what_cannot_be_voided_is_said(world: World) -> None:
    await world.add_customer("said", "byok")
    await put(world, *executions("said", 1, period=world.period))
    with pytest.raises(NotFoundError, match="no event 'nothing' of source"):
        await void(world, "nothing")
    await void(world, "said-000000")
    with pytest.raises(ConflictingStateError, match=r"voided already, at .* by tests: sent by"):
        await void(world, "said-000000")
    async with world.sessions("tallybook_rater") as session:
        with pytest.raises(InvalidInputError, match="say why"):
            await voiding.void_event(
                session, source=SOURCE, event_id="x", reason=" ", actor="t", now=datetime.now(UTC)
            )
    assert await charges(world, "said") == {"executions": Decimal(0)}


async def test_a_void_in_a_closed_month_is_an_adjustment_of_the_next(new_world: OpenWorld) -> None:
    async with new_world() as world:
        await world.apply_catalogue()
        await world.apply_catalogue(TIERED)
        await world.add_customer("late", "tiered")
        await world.start("rater")
        await put(world, *executions("late", 110, period=world.period))
        await world.fetch(
            "INSERT INTO periods (period, state, closing_at, closed_at)"
            " VALUES ($1, 'closed', now(), now())",
            str(world.period),
        )
        undone = await void(world, "late-000000")
        (item,) = undone.items
        assert (item.band, item.amount) == ("100 to 1000", Decimal("-0.005"))
        assert (item.usage_period, item.posting_period) == (
            str(world.period),
            str(world.period.next()),
        )
        assert await findings(world) == []


async def test_peaks_and_unique_counts_are_kept_exactly(world: World) -> None:
    """Two batches, a repeat, a void of the peak and of a person's only event."""
    await world.add_customer("meters", "jobs")
    start = world.period.start
    jobs = [
        job("meters", 0, start, workers=3, person="ann", hours=2, region="eu"),
        job("meters", 1, start, workers=8, person="bob", hours=0.5, region="us"),
        job("meters", 2, start, workers=5, person="ann", hours=4),
        job("meters", 3, start, person="cid"),
    ]
    await put(world, *jobs[:2])
    assert await charges(world, "meters") == {
        "peak": Decimal(80),
        "seats": Decimal(11),
        "hours": Decimal(3),
        "jobs": Decimal("3.5"),
        "base": Decimal(11),
    }
    await put(world, *jobs[2:], jobs[0])
    after = {
        "peak": Decimal(80),
        "seats": Decimal(15),
        "hours": Decimal("8.25"),
        "jobs": Decimal(7),
        "base": Decimal(11),
    }
    assert await charges(world, "meters") == after
    assert await findings(world, "meters") == []
    await void(world, "meters-job-1", source="jobs")
    assert await charges(world, "meters") == {
        **after,
        "peak": Decimal(50),
        "seats": Decimal(11),
        "hours": Decimal(10),
        "jobs": Decimal("3.5"),
    }
    assert await findings(world, "meters") == []


async def test_a_silent_customer_owes_what_is_due_without_usage(world: World) -> None:
    await world.add_customer("silent", "jobs")
    await world.caught_up()
    assert await charges(world, "silent") == {
        "seats": Decimal(1),
        "hours": Decimal(3),
        "base": Decimal(11),
    }
    days = Decimal(world.period.days)
    await world.switch_contract("silent", "byok", world.period.start + timedelta(days=10))
    owed = await charges(world, "silent")
    assert owed["hours"] == (Decimal(30) / days).quantize(Decimal("1e-12"))
    assert owed["seats"] == 1
    assert await findings(world, "silent") == []


async def test_rating_again_posts_nothing_when_all_is_well(world: World) -> None:
    await world.add_customer("well", "byok_pro")
    await put(world, *executions("well", 7, period=world.period))
    count = await world.count("line_items")
    async with world.sessions("tallybook_rater") as session:
        assert await rerating.rerate(session, "well", world.period, actor="tests") == []
    assert await world.count("line_items") == count
    entries = await world.fetch("SELECT FROM audit_entries WHERE act = 'usage.rerate'")
    assert entries == []


DAMAGE = {
    "a total is wrong": (
        (
            "UPDATE usage_totals SET quantity = quantity + 1 WHERE contract_id = $1"
            " AND meter = 'executions' AND dimension = ''"
        ),
        {"total"},
    ),
    "a total is missing": (
        ("DELETE FROM usage_totals WHERE contract_id = $1 AND dimension = 'model'"),
        {"total"},
    ),
    "a line item is too much": (
        (
            "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
            " unit_price, amount, currency, usage_period, posting_period, kind)"
            " SELECT 0, customer_id, contract_id, charge, band, 1, unit_price, unit_price,"
            " currency, usage_period, posting_period, 'usage' FROM line_items"
            " WHERE contract_id = $1"
            " AND charge = 'executions' LIMIT 1"
        ),
        {"line_items"},
    ),
    "events stand under another contract": (
        (
            "UPDATE events SET contract_id = (SELECT id FROM contracts WHERE customer_id = 'well')"
            " WHERE contract_id = $1 AND id LIKE '%-000001'"
        ),
        {"contract", "line_items", "total"},
    ),
}


@pytest.mark.parametrize(("damage", "found"), DAMAGE.values(), ids=DAMAGE.keys())
async def test_what_is_wrong_is_found_and_mended(
    world: World, damage: str, found: set[str]
) -> None:
    customer = f"ill-{len(damage)}"
    contract = await world.add_customer(customer, "byok_pro")
    assert contract is not None
    await put(world, *executions(customer, 5, period=world.period))
    async with world.connect() as connection:
        await connection.execute(damage, contract.id)
    assert {one.what for one in await findings(world)} == found
    for who in {customer, "well"}:
        async with world.sessions("tallybook_rater") as session:
            await rerating.rerate(session, who, world.period, actor="tests")
    assert await findings(world) == []
    assert (await charges(world, customer))["executions"] == Decimal("0.005")
    assert await world.out_of_balance() == []


async def test_a_meter_that_comes_later_counts_what_is_there(world: World) -> None:
    await world.add_customer("later", "byok")
    await put(world, *[job("later", n, world.period.start, weight=n) for n in range(4)])
    await world.apply_catalogue(
        "meters:\n  weight: {event_type: com.example.job, aggregate: sum, property: weight}\n"
    )
    rows = await world.fetch(
        "SELECT quantity FROM usage_totals JOIN contracts c ON c.id = contract_id"
        " WHERE customer_id = 'later' AND meter = 'weight'"
    )
    assert [row["quantity"] for row in rows] == [6]
    assert await findings(world, "later") == []


async def test_what_a_later_meter_cannot_read_counts_for_nothing_and_stops_nobody(
    world: World,
) -> None:
    await put(world, job("unreadable", 1, world.period.start, bytes="12", tons=3))
    await world.apply_catalogue(
        "meters:\n"
        "  bytes: {event_type: com.example.job, aggregate: sum, property: bytes}\n"
        "  tons: {event_type: com.example.job, aggregate: sum, property: tons}\n"
    )
    await world.add_customer("unreadable", "jobs")
    await world.add_customer("neighbour", "byok_pro")
    await world.caught_up()
    assert (await charges(world, "neighbour"))["subscription"] == 19
    rows = await world.fetch(
        "SELECT meter, quantity FROM usage_totals JOIN contracts c ON c.id = contract_id"
        " WHERE customer_id = 'unreadable' AND meter IN ('bytes', 'jobs', 'tons')"
        " AND dimension = '' ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [("bytes", 0), ("jobs", 1), ("tons", 3)]
    await world.switch_contract("unreadable", "byok", world.period.start + timedelta(days=1))
    assert await findings(world, "unreadable") == []


async def test_a_negative_value_is_a_dead_letter_with_its_place(world: World) -> None:
    await world.add_customer("negative", "jobs")
    await put(world, job("negative", 1, world.period.start, hours=-1))
    (letter,) = await world.fetch(
        "SELECT code, pointer, detail FROM dead_letters ORDER BY id DESC LIMIT 1"
    )
    assert tuple(letter) == ("invalid_data", "/data/hours", "must not be negative")


async def test_the_commands(world: World) -> None:
    await world.add_customer("typed", "byok")
    await put(world, *executions("typed", 4, period=world.period))
    done = await tallybook(
        world, "events", "void", SOURCE, "typed-000000", "--why", "a test", "--json"
    )
    assert (done.status, done.err) == (0, "")
    assert '"voided": 1' in done.out
    again = await tallybook(world, "events", "void", SOURCE, "typed-000000", "--why", "a test")
    assert again.status == 1
    assert "voided already" in again.err
    assert "Traceback" not in again.err
    wrong = await tallybook(world, "events", "void", SOURCE, "--from", "2026-01-01", "--why", "x")
    assert wrong.status == 2
    checked = await tallybook(world, "rerate", "--check", "--json")
    assert checked.status == 0
    assert '"clean": true' in checked.out
    mended = await tallybook(world, "rerate", "typed", "--period", str(world.period))
    assert (mended.status, "all is well" in mended.out) == (0, True)
    assert (await tallybook(world, "rerate", "nobody", "--period", str(world.period))).status == 1
