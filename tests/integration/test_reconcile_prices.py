"""The reconciliation works out every price by itself, and sees through what was posted for it.

One month has each model of price, a contract's own prices, discounts of both modes, meters of
all kinds and events that were taken back; each test spoils one of them and puts it back.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.rater.contracts import Terms
from services.rater.corrections.voiding import void_event
from shared.periods import Period
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import SOURCE, Event, encoded, executions
from tests.integration.harness.world import World
from tests.services.invoicer.reconciling import Books, invoiced

CATALOGUE = """
meters:
  executions: {event_type: ai.execution.finished, filter: {status: succeeded}, aggregate: count}
  gigabytes: {event_type: storage.used, aggregate: sum, property: gigabytes}
  seats: {event_type: seats.counted, aggregate: max, property: seats}
  rooms: {event_type: room.entered, filter: {kind: paid}, aggregate: unique_count, property: room}
  all_rooms: {event_type: room.entered, aggregate: unique_count, property: room}
plans:
  everything:
    version: 1
    name: Everything
    currency: USD
    charges:
      - code: calls
        model: unit
        meter: executions
        unit_price: 0.002
        free_units: 5
        discount_percent: 10
      - code: tiers
        model: graduated
        meter: executions
        tiers:
          - {up_to: 10, unit_price: 0.1, flat_fee: 1}
          - {up_to: 30, unit_price: 0.05, flat_fee: 2}
          - {up_to: null, unit_price: 0.01, flat_fee: 3}
      - code: reach
        model: volume
        meter: executions
        tiers:
          - {up_to: 30, unit_price: 0.1, flat_fee: 1}
          - {up_to: null, unit_price: 0.05, flat_fee: 2}
      - {code: storage, model: package, meter: gigabytes, package_size: 100, package_price: 5}
      - {code: peak, model: unit, meter: seats, unit_price: 3}
      - {code: visited, model: unit, meter: rooms, unit_price: 2}
      - {code: support, model: unit, meter: executions, unit_price: 0.001, minimum_spend: 31}
      - {code: capped, model: unit, meter: executions, unit_price: 1, maximum_spend: 20}
      - {code: base, model: flat, amount: 50}
      - {code: fee, model: recurring, amount: 19, discount_percent: 50}
discount_schedules:
  by-unit:
    version: 1
    charge: tiers
    tiers: [{up_to: 20, percent_off: 10}, {up_to: null, percent_off: 50}]
  by-all:
    version: 1
    charge: calls
    mode: volume
    tiers: [{up_to: 20, percent_off: 10}, {up_to: null, percent_off: 50}]
"""
OWN = """
calls: {unit_price: 0.003}
storage: {model: unit, unit_price: 0.01}
visited: {meter: all_rooms}
base: {amount: 40}
"""
AMOUNTS = {
    "calls": "0.054",
    "tiers": "8.05",
    "reach": "3.75",
    "storage": "15",
    "peak": "15",
    "visited": "6",
    "support": "31",
    "capped": "20",
    "base": "50",
    "fee": "9.5",
}
"""What the month costs `all`, by hand: of 40 executions 4 failed, and one was taken back."""
LINES = [
    "base · flat · 1 × $50.00 (exact 50)",
    "fee · whole month ({days} of {days} days) · 1 × $19.00 (exact 19)",
    "fee · discount 50 % (exact -9.5)",
    "calls · free · 5 × $0.00 (exact 0)",
    "calls · 30 × $0.002 (exact 0.06)",
    "calls · discount 10 % (exact -0.006)",
    "capped · 35 × $1.00 (exact 35)",
    "capped · maximum spend (exact -15)",
    "peak · 5 × $3.00 (exact 15)",
    "reach · over 30 · 35 × $0.05 (exact 1.75)",
    "reach · over 30 flat fee · 1 × $2.00 (exact 2)",
    "storage · 3 packages of 100 × $5.00 (exact 15)",
    "support · 35 × $0.001 (exact 0.035)",
    "support · minimum spend (exact 30.965)",
    "tiers · 1–10 · 10 × $0.10 (exact 1)",
    "tiers · 1–10 flat fee · 1 × $1.00 (exact 1)",
    "tiers · 11–30 · 20 × $0.05 (exact 1)",
    "tiers · 11–30 flat fee · 1 × $2.00 (exact 2)",
    "tiers · over 30 · 5 × $0.01 (exact 0.05)",
    "tiers · over 30 flat fee · 1 × $3.00 (exact 3)",
    "visited · 3 × $2.00 (exact 6)",
]

CUSTOMERS = {
    "all": Terms(),
    "own": Terms(overrides=OWN),
    "part": Terms(),
    "unit": Terms(discount="by-unit"),
    "volume": Terms(discount="by-all"),
}
TAKEN_BACK = ("all-000001", "all-seats-1", "all-rooms-3", "unknown-000001")


def _others(customer: str, period: Period) -> list[Event]:
    """Build events that are no executions; the last of a month, so that contracts cover them."""
    data: dict[str, list[dict[str, Any]]] = {
        "storage.used": [
            {"gigabytes": 0.5},
            {"gigabytes": 199.5},
            {"gigabytes": 0.25, "room": "hall"},
        ],
        "seats.counted": [
            {"seats": 3, "kind": "paid"},
            {"seats": 7},
            {"seats": 5, "gigabytes": "no number, and no meter of seats asks for one"},
        ],
        "room.entered": [
            {"room": "red", "kind": "paid"},
            {"room": "red", "kind": "paid"},
            {"room": "blue", "kind": "paid"},
            {"room": "green", "kind": "paid"},
            {"room": 7, "kind": "paid"},
            {"room": None, "kind": "paid"},
            {"room": "grey", "kind": "free"},
        ],
    }
    names = {"storage.used": "storage", "seats.counted": "seats", "room.entered": "rooms"}
    return [
        {
            "specversion": "1.0",
            "id": f"{customer}-{names[kind]}-{number}",
            "source": SOURCE,
            "type": kind,
            "subject": customer,
            "time": (period.end - timedelta(hours=1)).isoformat(),
            "data": one,
        }
        for kind, some in data.items()
        for number, one in enumerate(some)
    ]


def _of_next_month(customer: str, period: Period) -> list[Event]:
    """Build events that no meter of the month may count."""
    events = _others(customer, period)
    others = [one for one in events if one["type"] != "storage.used"]
    return [{**one, "id": f"next-{one['id']}", "time": period.end.isoformat()} for one in others]


async def _settle(world: World) -> None:
    """Add the customers, and their month to the log; nobody knows the one called unknown."""
    await world.apply_catalogue(CATALOGUE)
    late = world.period.start + timedelta(days=10, hours=12)
    for customer, terms in CUSTOMERS.items():
        await world.add_customer(customer, None)
        starts_at = late if customer == "part" else None
        await world.start_contract(customer, "everything", starts_at, terms=terms)
    for customer in (*CUSTOMERS, "unknown"):
        events = executions(customer, 40, period=world.period, failed_every=10)
        events = [one for one in events if customer != "part" or one["time"] >= late.isoformat()]
        events += _others(customer, world.period)
        events += _of_next_month(customer, world.period)
        await world.produce([encoded(one) for one in events], key=customer.encode())


@pytest.fixture(scope="module")
async def books(new_world: OpenWorld) -> AsyncIterator[Books]:
    async with new_world() as world:
        await _settle(world)
        rater = await world.start("rater")
        await world.caught_up()
        for event_id in TAKEN_BACK:
            async with world.sessions("tallybook_rater") as session:
                await void_event(
                    session,
                    source=SOURCE,
                    event_id=event_id,
                    reason="sent twice",
                    actor="tests",
                    now=datetime.now(UTC),
                )
        async with invoiced(world) as invoiced_books:
            await rater.stop()
            yield invoiced_books


async def _contract(books: Books, customer: str) -> str:
    (row,) = await books.world.fetch("SELECT id FROM contracts WHERE customer_id = $1", customer)
    return str(row["id"])


async def _named(books: Books, name: str) -> set[tuple[str, str]]:
    """Give customers and charges of the critical differences, which must be of one class."""
    critical = [one for one in (await books.reconcile()).differences if one.severity == "critical"]
    assert {one.name for one in critical} <= {name}
    rows = await books.world.fetch("SELECT id, customer_id FROM contracts")
    customers = {row["id"]: row["customer_id"] for row in rows}
    ids = [one_id.split("/") for one in critical for one_id in one.ids]
    return {(customers[contract], charge) for contract, charge in ids}


def _on(charge: str, *customers: str) -> set[tuple[str, str]]:
    return {(customer, charge) for customer in customers or CUSTOMERS}


async def test_a_month_of_every_price_is_clean(books: Books) -> None:
    rows = await books.world.fetch(
        "SELECT charge, sum(amount) AS amount FROM line_items WHERE customer_id = 'all'"
        " AND usage_period = $1 GROUP BY 1",
        str(books.world.period),
    )
    assert {row["charge"]: row["amount"] for row in rows} == {
        charge: Decimal(amount) for charge, amount in AMOUNTS.items()
    }
    found = await books.reconcile()
    assert [one for one in found.differences if one.severity == "critical"] == []
    stages = {one.source: one for one in found.stages}
    plans = stages["usage and fees by the plans (USD)"]
    assert plans.count_from == plans.count_to > 0
    assert plans.amount_from == plans.amount_to > 5 * 100


async def test_events_that_were_taken_back_are_named_and_count_for_nothing(books: Books) -> None:
    found = {one.name: one for one in (await books.reconcile()).differences}
    assert found["voided"].severity == "info"
    assert found["voided"].count == len(TAKEN_BACK)
    assert set(found["voided"].ids) == {f"{SOURCE} {event_id}" for event_id in TAKEN_BACK}
    (row,) = await books.world.fetch(
        "SELECT count(*) AS unpriced FROM events WHERE customer_id = 'unknown' AND NOT voided"
        " AND time < $1",
        books.world.period.end,
    )
    assert found["unpriced"].count == row["unpriced"] > 0


async def test_each_line_says_how_it_was_priced(books: Books) -> None:
    """Lines at Stripe are compared with these by the reconciliation."""
    rows = await books.world.fetch(
        "SELECT description, l.kind FROM invoice_lines l JOIN invoices v ON v.id = l.invoice_id"
        " WHERE v.customer_id = 'all' ORDER BY l.position"
    )
    period = books.world.period
    days = (period.end - period.start).days
    said = [row["description"].removeprefix("everything · ") for row in rows]
    assert said == [line.replace("{days}", str(days)) for line in LINES]
    assert {row["kind"] for row in rows} == {"recurring", "usage"}


def _changed(charge: str, path: str, value: str) -> str:
    """Change a field of a charge in a plan's definition."""
    changed = f"jsonb_set(charge, '{{{path}}}', '\"{value}\"')"
    return (
        "definition = jsonb_set(definition, '{charges}', (SELECT jsonb_agg("
        f" CASE WHEN charge ->> 'code' = '{charge}' THEN {changed} ELSE charge END)"
        " FROM jsonb_array_elements(definition -> 'charges') AS charge))"
    )


@pytest.mark.parametrize(
    ("charge", "path", "value", "customers"),
    [
        ("calls", "unit_price", "0.001", ("all", "part", "unit", "volume")),
        ("calls", "free_units", "6", ("all", "part", "unit", "volume")),
        ("calls", "discount_percent", "11", ("all", "part", "unit", "volume")),
        ("tiers", "tiers,0,unit_price", "0.2", ()),
        ("tiers", "tiers,1,flat_fee", "2.5", ()),
        ("reach", "tiers,0,up_to", "40", ("all", "own", "unit", "volume")),
        ("storage", "package_size", "60", ("all", "part", "unit", "volume")),
        ("support", "minimum_spend", "32", ()),
        ("capped", "maximum_spend", "19", ()),
        ("base", "amount", "51", ("all", "part", "unit", "volume")),
        ("fee", "amount", "20", ()),
    ],
)
async def test_another_price_than_was_posted(
    books: Books, charge: str, path: str, value: str, customers: Sequence[str]
) -> None:
    async with books.updated("plan_versions", _changed(charge, path, value), "true"):
        assert await _named(books, "amount_mismatch") == _on(charge, *customers)


async def test_another_price_of_a_contracts_own(books: Books) -> None:
    change = "overrides = replace(overrides::text, '\"40\"', '\"41\"')::jsonb"
    where = f"id = '{await _contract(books, 'own')}'"
    async with books.updated("contracts", change, where):
        assert await _named(books, "amount_mismatch") == _on("base", "own")


@pytest.mark.parametrize(
    ("schedule", "change", "named"),
    [
        ("by-unit", "jsonb_set(definition, '{tiers,1,percent_off}', '\"40\"')", ("tiers", "unit")),
        ("by-all", "jsonb_set(definition, '{tiers,1,percent_off}', '\"40\"')", ("calls", "volume")),
        ("by-all", "jsonb_set(definition, '{mode}', '\"graduated\"')", ("calls", "volume")),
        ("by-unit", "jsonb_set(definition, '{mode}', '\"volume\"')", ("tiers", "unit")),
    ],
)
async def test_another_discount_than_was_posted(
    books: Books, schedule: str, change: str, named: tuple[str, str]
) -> None:
    where = f"schedule = '{schedule}'"
    async with books.updated("discount_schedules", f"definition = {change}", where):
        assert await _named(books, "amount_mismatch") == _on(*named)


async def test_other_days_than_were_posted(books: Books) -> None:
    where = f"id = '{await _contract(books, 'part')}'"
    async with books.updated("contracts", "starts_at = starts_at - interval '1 day'", where):
        named = await _named(books, "amount_mismatch")
    assert named == {("part", "fee"), ("part", "support")}


@pytest.mark.parametrize(
    ("event_id", "change", "name", "charge"),
    [
        ("all-seats-2", "'{\"seats\": 6}'", "lost", "peak"),
        ("all-seats-2", "'{\"seats\": 4}'", "billed_twice", "peak"),
        ("all-rooms-1", '\'{"room": "new", "kind": "paid"}\'', "lost", "visited"),
        ("all-rooms-2", '\'{"room": "red", "kind": "paid"}\'', "billed_twice", "visited"),
        ("all-storage-1", "'{\"gigabytes\": 300}'", "amount_mismatch", "storage"),
        ("own-storage-1", "'{\"gigabytes\": 300}'", "lost", "storage"),
        ("own-storage-1", '\'{"gigabytes": "300"}\'', "billed_twice", "storage"),
        ("own-rooms-6", '\'{"room": "red"}\'', "billed_twice", "visited"),
    ],
)
async def test_another_event_than_was_rated(
    books: Books, event_id: str, change: str, name: str, charge: str
) -> None:
    async with books.updated("events", f"data = {change}", f"id = '{event_id}'") as rows:
        named = await _named(books, name)
    assert rows == 1
    assert named == _on(charge, event_id.partition("-")[0])


ON_EXECUTIONS = {"calls", "tiers", "reach", "support", "capped"}


@pytest.mark.parametrize(
    ("event_id", "voided", "name", "charges"),
    [
        ("all-000001", False, "lost", ON_EXECUTIONS),
        ("all-000002", True, "billed_twice", ON_EXECUTIONS),
        ("all-seats-1", False, "lost", {"peak"}),
        ("all-rooms-3", False, "lost", {"visited"}),
        ("all-rooms-0", True, "billed_twice", set()),
    ],
)
async def test_an_event_that_was_taken_back_in_one_place_alone(
    books: Books, event_id: str, voided: bool, name: str, charges: set[str]
) -> None:
    async with books.updated("events", f"voided = {voided}", f"id = '{event_id}'"):
        named = await _named(books, name)
    assert named == {("all", charge) for charge in charges}


async def test_a_voided_event_that_is_gone_is_missed_like_any_other(books: Books) -> None:
    keep = f"CREATE TABLE kept AS SELECT * FROM events WHERE id = '{TAKEN_BACK[0]}'"
    back = "INSERT INTO events SELECT * FROM kept; DROP TABLE kept"
    async with books.spoiled(keep, f"DELETE FROM events WHERE id = '{TAKEN_BACK[0]}'", back=back):
        found = await books.critical()
    assert {name: one.count for name, one in found.items()} == {"lost": Decimal(1)}


async def test_what_was_spoiled_is_put_back(books: Books) -> None:
    assert await books.critical() == {}
