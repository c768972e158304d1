"""Walks through a billing year's mishaps on real Kafka and Postgres, and counts from scratch.

Each walk does by lot what can be done: usage, late, again, changed and broken; contracts that
start, switch and end in the past; voids; closes; a rater that is killed. Whenever all is caught
up, the books must equal `plain_books`, which shares no code with the rater.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Self

import pytest

from services.invoicer import closing
from services.rater import contracts
from services.rater.corrections import rerating, voiding
from services.rater.corrections.rerating import Finding
from services.rater.posting import LineItem
from shared.periods import Period
from tests.integration.conftest import OpenWorld
from tests.integration.harness.processes import ServiceProcess
from tests.integration.harness.world import World
from tests.services.rater import plain_books
from tests.services.rater.plain_books import Deal, Sent
from tests.services.rater.test_books import INSTANTS, written

STEPS = 40
SOURCE = "agents"
MONTHS = [Period(2026, 8), Period(2026, 9)]
"""The months that are closed on the way, in their order."""
RATER: dict[str, Any] = {
    "rater_instance": "rater-1",
    "rater_batch_records": 5,
    "max_event_age_days": 100_000,
}
DISCOUNTS = {"tiered": "by-tier", "volume": "by-volume"}
OVERRIDES = '{"executions": {"unit_price": "0.02"}}'
CATALOGUE = """
meters:
  executions: {event_type: ai.execution.finished, filter: {status: succeeded}, aggregate: count,
    dimensions: [model, key_label]}
  input_tokens: {event_type: ai.execution.finished, filter: {status: succeeded}, aggregate: sum,
    property: input_tokens, dimensions: [model, key_label]}
  output_tokens: {event_type: ai.execution.finished, filter: {status: succeeded}, aggregate: sum,
    property: output_tokens, dimensions: [model, key_label]}
  peak_seats: {event_type: com.example.session, aggregate: max, property: seats}
  users: {event_type: com.example.session, aggregate: unique_count, property: user}
models:
  sonnet:
    - {from: 2026-01-01, currency: USD, input_per_million: 3, output_per_million: 15}
    - {from: "2026-09-16T13:00:00Z", currency: USD, input_per_million: 3, output_per_million: 15}
discount_schedules:
  by-tier: {version: 1, charge: executions, tiers: [{up_to: 2, percent_off: 0},
    {up_to: 4, percent_off: 12.5}, {up_to: null, percent_off: 33.3}]}
  by-volume: {version: 1, charge: executions, mode: volume, tiers: [{up_to: 3, percent_off: 0},
    {up_to: null, percent_off: 50}]}
plans:
  basic: {version: 1, name: Basic, currency: USD, charges: [
    {code: executions, model: unit, meter: executions, unit_price: 0.012},
    {code: subscription, model: recurring, amount: 31}]}
  tiered: {version: 1, name: Tiered, currency: USD, charges: [
    {code: executions, model: graduated, meter: executions, tiers: [
      {up_to: 1, unit_price: 5, flat_fee: 2}, {up_to: 3, unit_price: 2.5, flat_fee: 7},
      {up_to: null, unit_price: 0.1, flat_fee: 1}]},
    {code: support, model: flat, amount: 7}]}
  committed: {version: 1, name: Committed, currency: USD, charges: [
    {code: executions, model: unit, meter: executions, unit_price: 0.5, free_units: 1,
      discount_percent: 10, minimum_spend: 0.5, maximum_spend: 0.8}]}
  volume: {version: 1, name: Volume, currency: USD, charges: [
    {code: executions, model: volume, meter: executions, tiers: [
      {up_to: 2, unit_price: 3, flat_fee: 1}, {up_to: null, unit_price: 1, flat_fee: 0.5}]}]}
  seats: {version: 1, name: Seats, currency: USD, charges: [
    {code: seats, model: unit, meter: peak_seats, unit_price: 2},
    {code: users, model: package, meter: users, package_size: 2, package_price: 5,
      free_units: 1, minimum_spend: 1.2}]}
"""
PLANS = ["basic", "tiered", "committed", "volume", "seats"]


@dataclass
class Walk:
    """What was done so far, as its doer knows it."""

    world: World
    rater: ServiceProcess
    chance: random.Random
    sent: list[Sent] = field(default_factory=list)
    deals: list[Deal] = field(default_factory=list)
    voided: set[str] = field(default_factory=set)
    closed: dict[str, Fraction] = field(default_factory=dict)
    rubbish: int = 0
    changed: int = 0
    line_items: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    async def begin(cls, world: World, chance: random.Random) -> Self:
        """Start a rater and two customers by lot, and let them use something."""
        await world.apply_catalogue(CATALOGUE)
        for customer in ("ann", "bob"):
            await world.add_customer(customer, None)
        walk = cls(world, await world.start("rater", **RATER), chance)
        await walk.start("ann", chance.choice(PLANS), INSTANTS[0], dearer=False)
        await walk.start("bob", chance.choice(PLANS), INSTANTS[4], dearer=True)
        await walk.use()
        return walk

    # what is done

    async def use(self) -> None:
        events = []
        for _ in range(self.chance.randint(3, 9)):
            customer = self.chance.choice(["ann", "ann", "bob"])
            kind = self.chance.choice(["done", "done", "done", "session", "session", "failed"])
            time = self.chance.choice(INSTANTS)
            number = self.chance.randint(0, 9)
            events.append(Sent(f"event-{len(self.sent)}", customer, time, kind, number))
            self.sent.append(events[-1])
        await self._produce(events)

    async def send_what_adds_nothing(self) -> None:
        events = self.chance.choices(self.sent, k=4)
        changed = [replace(event, number=event.number + 10) for event in events[:2]]
        self.changed += len(changed)
        self.rubbish += 1
        await self._produce([*events, *changed])
        await self.world.produce([b"rubbish"], key=b"ann")

    async def _produce(self, events: list[Sent]) -> None:
        for customer in ("ann", "bob"):
            mine = [written(event) for event in events if event.customer == customer]
            await self.world.produce(mine, key=customer.encode())

    async def kill_the_rater(self) -> None:
        await self.use()
        await self.rater.kill()
        await self.use()
        self.rater = await self.world.start("rater", wait=False, **RATER)

    async def change_a_contract(self) -> None:
        """Switch or end the one in force, or start one where there is none any more."""
        customer, at = self.chance.choice(["ann", "bob"]), self.chance.choice(INSTANTS)
        plan, dearer = self.chance.choice(PLANS), self.chance.random() < 0.3
        deal = next((d for d in self.deals if d.customer == customer and d.holds(at)), None)
        if deal is None:
            if all(d.ends and d.ends <= at for d in self.deals if d.customer == customer):
                await self.start(customer, plan, at, dearer=dearer)
            return
        if deal.starts == at:
            return
        async with self.world.sessions("tallybook_rater") as session:
            if self.chance.random() < 0.3:
                await contracts.end_contract(session, customer_id=customer, at=at, actor="walk")
            else:
                made = await contracts.switch_contract(
                    session,
                    customer_id=customer,
                    plan=plan,
                    at=at,
                    terms=_terms(plan, dearer=dearer),
                    actor="walk",
                    now=datetime.now(UTC),
                )
                self.deals.append(Deal(made.id, customer, plan, dearer, at, deal.ends))
        deal.ends = at

    async def start(self, customer: str, plan: str, at: datetime, *, dearer: bool) -> None:
        terms = _terms(plan, dearer=dearer)
        made = await self.world.start_contract(customer, plan, at, terms=terms)
        self.deals.append(Deal(made.id, customer, plan, dearer, at))

    async def void_one(self) -> None:
        await self.world.caught_up()
        open_ = [event for event in self.sent if event.name not in self.voided]
        if not open_:
            return
        event = self.chance.choice(open_)
        async with self.world.sessions("tallybook_rater") as session:
            await voiding.void_event(
                session,
                source=SOURCE,
                event_id=event.name,
                reason="walk",
                actor="walk",
                now=datetime.now(UTC),
            )
        self.voided.add(event.name)

    async def void_a_range(self) -> None:
        await self.world.caught_up()
        since, until = sorted(self.chance.sample(INSTANTS[:6], 2))
        names = {
            event.name
            for event in self.sent
            if since <= event.time < until and event.name not in self.voided
        }
        if not names:
            return
        async with self.world.sessions("tallybook_rater") as session:
            voided = await voiding.void_events(
                session,
                source=SOURCE,
                since=since,
                until=until,
                reason="walk",
                actor="walk",
                now=datetime.now(UTC),
            )
        assert voided.events == len(names)
        self.voided |= names

    async def close_the_next_month(self) -> None:
        if len(self.closed) == len(MONTHS):
            return
        month = MONTHS[len(self.closed)]
        await self.world.caught_up()
        await self.world.fetch(
            "INSERT INTO periods (period, state, closing_at) VALUES ($1, 'closing', now())",
            str(month),
        )
        engine = self.world.engine("tallybook_invoicer")
        await closing._lock(engine, month, "walk", lambda: datetime.now(UTC))
        self.closed[str(month)] = await self._posted_to(str(month))

    async def rate_again(self) -> None:
        await self.world.caught_up()
        async with self.world.sessions("tallybook_rater") as session:
            customer, month = self.chance.choice(["ann", "bob"]), self.chance.choice(MONTHS)
            assert await rerating.rerate(session, customer, month, actor="walk") == []

    # what must be true

    async def compare(self) -> None:
        await self.world.caught_up()
        await self._compare_log()
        totals = await self._compare_totals()
        await self._compare_money(totals)
        await self._compare_line_items()
        assert await self._findings() == []
        for month, amount in self.closed.items():
            assert await self._posted_to(month) == amount, f"{month} is closed, and has changed"

    async def _compare_log(self) -> None:
        (row,) = await self.world.fetch(
            "SELECT (SELECT count(*) FROM events) AS events,"
            " (SELECT count(*) FROM events WHERE voided) AS voided,"
            " (SELECT count(*) FROM conflicts) AS conflicts,"
            " (SELECT count(*) FROM dead_letters) AS dead_letters"
        )
        assert tuple(row) == (len(self.sent), len(self.voided), self.changed, self.rubbish)

    async def _compare_totals(self) -> plain_books.Totals:
        counted = [
            (event, deal.id)
            for event in self.sent
            for deal in self.deals
            if deal.customer == event.customer and deal.holds(event.time)
            if event.kind != "failed" and event.name not in self.voided
        ]
        totals = plain_books.count(counted)
        rows = await self.world.fetch(
            "SELECT contract_id, usage_period::text, meter, dimension, value, quantity"
            " FROM usage_totals WHERE quantity <> 0"
        )
        assert {tuple(row)[:5]: Fraction(row["quantity"]) for row in rows} == totals
        return totals

    async def _compare_money(self, totals: plain_books.Totals) -> None:
        months = await self.world.fetch("SELECT contract_id, period::text FROM contract_months")
        opened = {tuple(row) for row in months}
        expected = {
            (deal.id, month, charge): amount
            for deal in self.deals
            for contract_id, month in opened
            if contract_id == deal.id
            for charge, amount in plain_books.amounts(deal, month, totals).items()
        }
        rows = await self.world.fetch(
            "SELECT contract_id, usage_period::text, charge, sum(amount) AS amount"
            " FROM line_items GROUP BY 1, 2, 3 HAVING sum(amount) <> 0"
        )
        assert {tuple(row)[:3]: Fraction(row["amount"]) for row in rows} == expected

    async def _compare_line_items(self) -> None:
        """Line items only ever grow in number, and each correction names what it corrects."""
        columns = ", ".join(LineItem._fields)
        rows = await self.world.fetch(f"SELECT id, {columns} FROM line_items ORDER BY id")
        found = {row["id"]: tuple(row)[1:] for row in rows}
        assert {id_: found.get(id_) for id_ in self.line_items} == self.line_items
        self.line_items = found
        for row in rows:
            if row["kind"] == "adjustment":
                corrected = LineItem(*found[row["corrects"]])
                assert (corrected.contract_id, corrected.usage_period, corrected.charge) == (
                    row["contract_id"],
                    row["usage_period"],
                    row["charge"],
                )

    async def _posted_to(self, month: str) -> Fraction:
        (row,) = await self.world.fetch(
            "SELECT coalesce(sum(amount), 0) AS amount FROM line_items WHERE posting_period = $1",
            month,
        )
        return Fraction(row["amount"])

    async def _findings(self) -> list[Finding]:
        async with self.world.sessions("tallybook_rater") as session:
            await rerating.begin_snapshot(session)
            return (await rerating.check_books(session, None, None)).findings


def _terms(plan: str, *, dearer: bool) -> contracts.Terms:
    overrides = OVERRIDES if dearer and plan == "basic" else None
    return contracts.Terms(DISCOUNTS.get(plan), overrides)


@pytest.mark.parametrize("seed", range(3))
async def test_the_books_equal_a_count_from_scratch(new_world: OpenWorld, seed: int) -> None:
    chance = random.Random(seed)  # a walk by lot, the same in every run
    async with new_world() as world:
        walk = await Walk.begin(world, chance)
        steps: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (walk.use, 6),
            (walk.send_what_adds_nothing, 2),
            (walk.kill_the_rater, 2),
            (walk.change_a_contract, 6),
            (walk.void_one, 4),
            (walk.void_a_range, 1),
            (walk.close_the_next_month, 1),
            (walk.rate_again, 2),
        ]
        acts, weights = [act for act, _ in steps], [weight for _, weight in steps]
        for number in range(1, STEPS + 1):
            await chance.choices(acts, weights)[0]()
            if number % 4 == 0:
                await walk.compare()
