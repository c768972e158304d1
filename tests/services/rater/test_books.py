"""The books as a whole: whatever happens, in whatever order, they equal a count from scratch.

Events come late, again, changed and broken; batches are cut anywhere, and crash before or
after the commit; contracts start late, switch and end in the past; events are voided and
amended, months are closed and everything is rated again in between. `memory_books` does it
with the rater's own functions, `plain_books` counts what should stand with loops and fractions.
"""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.rater.metering import Meter, by_event_type
from services.rater.posting import LineItem
from services.rater.pricing import (
    Charge,
    FlatCharge,
    PackageCharge,
    RecurringCharge,
    UnitCharge,
)
from services.rater.pricing.discounts import DiscountSchedule
from services.rater.terms import Contract, make_contract
from services.rater.tokens import TokenPrice, TokenPrices
from shared.periods import Period
from tests.services.rater import plain_books
from tests.services.rater.factories import (
    LogRecord,
    graduated_charge,
    schedule,
    shipped_catalogue,
    volume_charge,
)
from tests.services.rater.memory_books import Books, CrashError, FencedError, Tables
from tests.services.rater.plain_books import PRICE_CHANGE, Deal, Sent
from tests.services.rater.strategies import THOROUGH
from tests.shared.factories import NOW, event_bytes, execution_data

SESSION = "com.example.session"
METERS = by_event_type(
    {
        **shipped_catalogue().meters,
        "peak_seats": Meter(SESSION, "max", {}, "seats"),
        "users": Meter(SESSION, "unique_count", {}, "user"),
    }
)
TOKEN_PRICES = TokenPrices(
    TokenPrice("sonnet", since, "USD", Decimal(3), Decimal(15))
    for since in (PRICE_CHANGE, datetime(2026, 1, 1, tzinfo=UTC))
)
MONTHS = [Period(2026, 8), Period(2026, 9), Period(2026, 10)]


def unit(price: str, **more: Any) -> UnitCharge:
    return UnitCharge(code="executions", meter="executions", unit_price=Decimal(price), **more)


PLANS: dict[str, tuple[list[Charge], DiscountSchedule | None]] = {
    "basic": (
        [unit("0.012"), RecurringCharge(code="subscription", amount=Decimal(31))],
        None,
    ),
    "tiered": (
        [
            graduated_charge(
                ("1", "5", "2"), ("3", "2.5", "7"), (None, "0.1", "1"), code="executions"
            ),
            FlatCharge(code="support", amount=Decimal(7)),
        ],
        schedule(("2", "0"), ("4", "12.5"), (None, "33.3")),
    ),
    "committed": (
        [
            unit(
                "0.5",
                free_units=Decimal(1),
                discount_percent=Decimal(10),
                minimum_spend=Decimal("0.5"),
                maximum_spend=Decimal("0.8"),
            )
        ],
        None,
    ),
    "volume": (
        [volume_charge(("2", "3", "1"), (None, "1", "0.5"), code="executions")],
        schedule(("3", "0"), (None, "50"), mode="volume"),
    ),
    "seats": (
        [
            UnitCharge(code="seats", meter="peak_seats", unit_price=Decimal(2)),
            PackageCharge(
                code="users",
                meter="users",
                package_size=Decimal(2),
                package_price=Decimal(5),
                free_units=Decimal(1),
                minimum_spend=Decimal("1.2"),
            ),
        ],
        None,
    ),
}


def contract_of(deal: Deal) -> Contract:
    charges, discount = PLANS[deal.plan]
    return make_contract(
        contract_id=deal.id,
        customer_id=deal.customer,
        starts_at=deal.starts,
        ends_at=deal.ends,
        currency="USD",
        plan=f"{deal.plan}@1",
        charges=charges,
        overrides=[unit("0.02")] if deal.dearer and deal.plan == "basic" else [],
        schedule=discount,
    )


def written(event: Sent) -> bytes:
    """Write an event as its producer does."""
    common = {"id": event.name, "subject": event.customer, "time": event.time.isoformat()}
    if event.kind == "session":
        data = {"seats": float(event.seats), "user": event.user}
        return event_bytes(data, type=SESSION, **common)
    status = "succeeded" if event.kind == "done" else "failed"
    data = execution_data(status=status, model=event.model, input_tokens=event.number)
    return event_bytes(data, **common)


INSTANTS = [
    datetime.fromisoformat(text).replace(tzinfo=UTC)
    for text in (
        "2026-08-01T00:00",
        "2026-08-15T13:00",
        "2026-08-31T23:59:59.999999",
        "2026-09-01T00:00",
        "2026-09-10T13:00",
        "2026-09-16T12:59",
        "2026-09-16T13:00",
        "2026-09-30T23:59:59.999999",
        "2026-10-01T00:00",
        "2026-10-10T13:00",
    )
]
"""Times of events and of contracts alike, so that they meet on the very instant."""

AT = st.sampled_from([*INSTANTS, NOW])
CUSTOMERS = st.sampled_from(["ann", "ann", "bob"])
KINDS = st.sampled_from(["done", "done", "done", "session", "session", "failed"])
USES = st.lists(st.tuples(CUSTOMERS, AT, KINDS, st.integers(0, 9)), min_size=3, max_size=9)
WHICH = st.integers(0, 63)
HOW = st.sampled_from(["again", "again", "changed", "rubbish"])
REPEATS = st.lists(st.tuples(WHICH, HOW), min_size=1, max_size=4)
PLAN = st.sampled_from(list(PLANS))
SIZES = st.integers(1, 8)
FATES = st.sampled_from(["committed", "committed", "crashed before", "crashed after"])


class BooksMachine(RuleBasedStateMachine):
    """Does to the books whatever can be done, and compares after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(METERS, TOKEN_PRICES)
        self.log: list[Sent | None] = []
        self.deals: list[Deal] = []
        self.voided: set[str] = set()
        self.waiting: set[str] = set()
        self.names = 0
        self.seen: list[LineItem] = []
        self.closed: set[str] = set()
        self.compared: Tables | None = None

    @property
    def tables(self) -> Tables:
        return self.books.tables

    @initialize(first=PLAN, second=PLAN, uses=USES)
    def begin(self, first: str, second: str, uses: list[tuple[str, datetime, str, int]]) -> None:
        self._start("ann", first, INSTANTS[0], dearer=False)
        self._start("bob", second, INSTANTS[4], dearer=True)
        self.use(uses, 5)

    # what producers do

    @rule(uses=USES, size=SIZES)
    def use(self, uses: list[tuple[str, datetime, str, int]], size: int) -> None:
        for customer, time, kind, number in uses:
            self._send(customer, time, kind, number)
        self._take(size)

    def _send(self, customer: str, time: datetime, kind: str, number: int) -> None:
        self.names += 1
        self.log.append(Sent(f"event-{self.names}", customer, time, kind, number))

    @precondition(lambda self: self.log)
    @rule(repeats=REPEATS, size=SIZES)
    def send_what_adds_nothing(self, repeats: list[tuple[int, str]], size: int) -> None:
        for which, how in repeats:
            event = self.log[which % len(self.log)]
            if event is None or how == "rubbish":
                self.log.append(None)
            elif how == "again":
                self.log.append(event)
            else:
                self.log.append(replace(event, number=event.number + 10))
        self._take(size)

    # what the rater does

    @precondition(lambda self: self.tables.next < len(self.log))
    @rule(size=SIZES, fate=FATES)
    def handle_a_batch(self, size: int, fate: str) -> None:
        records = self._records(size)
        if fate == "crashed before":
            with pytest.raises(CrashError):
                self.books.take(records, crash=True)
            return
        self._take(size)
        if fate == "crashed after":
            self.books.forget()
            with pytest.raises(FencedError):
                self.books.take(records)

    def _records(self, size: int) -> list[LogRecord]:
        start = self.tables.next
        return [
            LogRecord(b"rubbish" if event is None else written(event), offset)
            for offset, event in enumerate(self.log[start : start + size], start)
        ]

    def _take(self, size: int) -> None:
        for event in self.log[self.tables.next : self.tables.next + size]:
            known = event is None or ("agents", event.name) in self.tables.events
            if event is not None and not known and self._deal_at(event) is None:
                self.waiting.add(event.name)
        self.books.take(self._records(size))

    @rule()
    def rate_waiting(self) -> None:
        self.books.rate_waiting()
        first = self._first()
        self.waiting = {
            name
            for name in self.waiting
            if name in self.voided or self._deal_at(first[name]) is None
        }

    @rule()
    def open_months(self) -> None:
        self.books.open_months(MONTHS)
        assert self.tables.months >= {
            (deal.id, str(month))
            for deal in self.deals
            for month in MONTHS
            if deal.days(str(month)) is not None
        }

    # what finance does

    @precondition(lambda self: len(self.closed) < 2)
    @rule()
    def close_the_next_month(self) -> None:
        month = MONTHS[len(self.closed)]
        self.books.close(month)
        self.closed.add(str(month))

    @rule(customer=CUSTOMERS, plan=PLAN, at=AT, dearer=st.booleans(), end=st.booleans())
    def change_contract(
        self, customer: str, plan: str, at: datetime, dearer: bool, end: bool
    ) -> None:
        """Switch or end the contract in force, or start one where there is none any more."""
        deal = next((d for d in self.deals if d.customer == customer and d.holds(at)), None)
        if deal is None:
            if all(d.ends and d.ends <= at for d in self.deals if d.customer == customer):
                self._start(customer, plan, at, dearer=dearer)
            return
        if deal.starts == at:
            return
        new = None if end else Deal(self._next_id(), customer, plan, dearer, at, deal.ends)
        for event in self._first().values():
            if end and event.customer == customer and event.time >= at and deal.holds(event.time):
                self.waiting.add(event.name)
        deal.ends = at
        self.books.end(deal.id, at, None if new is None else contract_of(new))
        if new is not None:
            self.deals.append(new)

    def _start(self, customer: str, plan: str, at: datetime, *, dearer: bool) -> None:
        self.deals.append(Deal(self._next_id(), customer, plan, dearer, at))
        self.books.start(contract_of(self.deals[-1]))

    def _next_id(self) -> str:
        return f"con_{len(self.deals)}"

    @precondition(lambda self: len(self.tables.events) > len(self.voided))
    @rule(which=WHICH, amended=st.none() | st.integers(0, 9), crash=st.booleans())
    def void(self, which: int, amended: int | None, crash: bool) -> None:
        """Take an event back; amended, the right one comes under a new id."""
        open_ = [event for name, event in self._first().items() if name not in self.voided]
        event = open_[which % len(open_)]
        if crash:
            with pytest.raises(CrashError):
                self.books.void([("agents", event.name)], crash=True)
            return
        self.books.void([("agents", event.name)])
        self.voided.add(event.name)
        if amended is not None:
            self._send(event.customer, event.time, event.kind, amended)

    @rule(span=st.tuples(AT, AT))
    def void_a_range(self, span: tuple[datetime, datetime]) -> None:
        since, until = sorted(span)
        names = [
            name
            for name, event in self._first().items()
            if since <= event.time < until and name not in self.voided
        ]
        self.books.void([("agents", name) for name in names])
        self.voided |= set(names)

    @rule()
    def rate_all_again(self) -> None:
        """Counted and priced from the events, nothing is different and nothing is owed."""
        counted, owed = self.books.check()
        kept = {key: total for key, total in self.tables.totals.items() if total}
        assert {key: total for key, total in counted.totals().items() if total} == kept
        assert owed == []

    # what must be true

    @invariant()
    def books_equal_a_count_from_scratch(self) -> None:
        if self.compared == self.tables:
            return
        self._compare_events()
        totals = self._compare_totals()
        self._compare_money(totals)
        self._check_new_line_items()
        self.compared = self.tables.copy()

    def _first(self) -> dict[str, Sent]:
        """Give the first event of each name on the log, as far as it was handled."""
        first: dict[str, Sent] = {}
        for event in self.log[: self.tables.next]:
            if event is not None:
                first.setdefault(event.name, event)
        return first

    def _deal_at(self, event: Sent) -> Deal | None:
        for deal in self.deals:
            if deal.customer == event.customer and deal.holds(event.time):
                return deal
        return None

    def _compare_events(self) -> None:
        handled = self.log[: self.tables.next]
        first = self._first()
        assert {name for _, name in self.tables.events} == set(first)
        assert self.tables.dead_letters == handled.count(None)
        same = sum(event is not None and first[event.name] == event for event in handled)
        assert self.tables.duplicates == same - len(first)
        assert self.tables.conflicts == len(handled) - handled.count(None) - same
        found = [(row["id"], row) for row in self.tables.events.values()]
        assert {name for name, row in found if row["contract_id"] is None} == self.waiting
        assert {name for name, row in found if row["voided"]} == self.voided

    def _compare_totals(self) -> plain_books.Totals:
        counted = []
        for name, event in self._first().items():
            deal = None if name in self.waiting else self._deal_at(event)
            if deal is not None and event.kind != "failed" and name not in self.voided:
                counted.append((event, deal.id))
                assert (deal.id, event.month) in self.tables.months
        totals = plain_books.count(counted)
        kept = {tuple(key): Fraction(total) for key, total in self.tables.totals.items() if total}
        assert kept == totals
        return totals

    def _compare_money(self, totals: plain_books.Totals) -> None:
        expected = {
            (deal.id, str(month), charge): amount
            for deal in self.deals
            for month in MONTHS
            if (deal.id, str(month)) in self.tables.months
            for charge, amount in plain_books.amounts(deal, str(month), totals).items()
        }
        posted: dict[tuple[str, str, str], Fraction] = {}
        for item in self.tables.items:
            key = (item.contract_id, item.usage_period, item.charge)
            posted[key] = posted.get(key, Fraction(0)) + Fraction(item.amount)
        assert {key: amount for key, amount in posted.items() if amount} == expected

    def _check_new_line_items(self) -> None:
        """What stood before stands unchanged; what is new leaves closed months alone."""
        items = self.tables.items
        assert items[: len(self.seen)] == self.seen
        by_id = {deal.id: deal for deal in self.deals}
        for item in items[len(self.seen) :]:
            assert item.posting_period not in self.closed
            assert item.posting_period >= item.usage_period
            assert item.customer_id == by_id[item.contract_id].customer
            assert (item.kind == "adjustment") == (item.corrects is not None)
            if item.corrects is not None:
                corrected = items[item.corrects - 1]
                place = (item.contract_id, item.usage_period, item.charge)
                assert place == (corrected.contract_id, corrected.usage_period, corrected.charge)
        batches = [item.batch_id for item in items]
        assert all(one <= other for one, other in pairwise(batches))
        self.seen = list(items)


TestBooks = BooksMachine.TestCase
TestBooks.settings = settings(
    THOROUGH, stateful_step_count=15 if THOROUGH.max_examples == 200 else 40
)
