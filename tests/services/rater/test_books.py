"""The books as a whole, in memory: whatever happens on the log, they equal a plain recount.

Events come in any order, again, changed and broken; batches are cut anywhere, some are lost
in a crash and read again in other sizes; months are closed in between. The books are built
with the rater's own pure functions, the recount with a few loops and fractions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from services.rater.metering import UsageKey, UsageTally
from services.rater.posting import LineItem, usage_line_items
from services.rater.rating import contracts_of, tally_usage
from services.rater.records import RecordReader, next_offsets
from services.rater.terms import PostingState
from shared.events import TimeLimits
from tests.services.rater.factories import (
    TOPIC,
    LogRecord,
    contract,
    graduated_charge,
    rules_of,
    schedule,
    shipped_meters,
    unit_charge,
)
from tests.shared.factories import NOW, event_bytes, execution_data

METERS = shipped_meters()
LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)
SWITCH = datetime(2026, 9, 16, 13, tzinfo=UTC)
CONTRACTS = [
    contract(unit_charge("0.012"), contract_id="basic", customer_id="ann", ends_at=SWITCH),
    contract(unit_charge("0.001"), contract_id="pro", customer_id="ann", starts_at=SWITCH),
    contract(
        unit_charge("0.002"),
        contract_id="discounted",
        customer_id="bob",
        discount=schedule(("2", "0"), ("4", "12.5"), (None, "33.3")),
    ),
    contract(
        graduated_charge(("1", "5", "0"), ("3", "2.5", "7"), (None, "0.1", "1")),
        contract_id="tiered",
        customer_id="cid",
    ),
]
RULES = rules_of(CONTRACTS)
MONTHS = ["2026-08", "2026-09", "2026-10"]


def price_of(contract_id: str, executions: int) -> Fraction:
    """Price executions one by one, straight from the terms above."""
    amount = Fraction(0)
    for number in range(1, executions + 1):
        if contract_id == "basic":
            amount += Fraction("0.012")
        elif contract_id == "pro":
            amount += Fraction("0.001")
        elif contract_id == "discounted":
            off = (
                Fraction(0)
                if number <= 2
                else Fraction(125, 10)
                if number <= 4
                else Fraction(333, 10)
            )
            amount += Fraction("0.002") * (100 - off) / 100
        else:
            amount += (
                Fraction(5) if number <= 1 else Fraction("2.5") if number <= 3 else Fraction("0.1")
            )
            amount += {2: 7, 4: 1}.get(number, 0)
    return amount


@dataclass(frozen=True)
class Sent:
    """An event as its producer meant it."""

    name: str
    customer: str
    time: datetime
    status: str
    tokens: int

    def written(self) -> bytes:
        return event_bytes(
            execution_data(status=self.status, input_tokens=self.tokens),
            id=self.name,
            subject=self.customer,
            time=self.time.isoformat(),
        )

    @property
    def contract_id(self) -> str | None:
        """Whose terms hold at the event's time, by the list above."""
        if self.customer == "ann":
            return "basic" if self.time < SWITCH else "pro"
        return {"bob": "discounted", "cid": "tiered"}.get(self.customer)


@dataclass
class Books:
    """What Postgres would hold."""

    next: int = 0
    known: dict[tuple[str, str], bytes] = field(default_factory=dict)
    unpriced: int = 0
    duplicates: int = 0
    conflicts: int = 0
    dead_letters: int = 0
    totals: dict[UsageKey, Decimal] = field(default_factory=dict)
    items: list[LineItem] = field(default_factory=list)

    def take(self, records: list[LogRecord], state: PostingState) -> None:
        """Handle a batch in the order of `Rating`, with lists for tables."""
        reader = RecordReader(METERS, LIMITS)
        reader.read(records)
        batch = reader.batch
        names = {event.name for event in batch.events}
        known = {name: digest for name, digest in self.known.items() if name in names}
        if known:
            batch.drop(known, TOPIC)
        contract_ids = contracts_of(RULES, batch.events)
        tally = UsageTally()
        tally_usage(batch.events, contract_ids, tally)
        added = tally.quantities()
        for key, quantity in added.items():
            self.totals[key] = self.totals.get(key, Decimal(0)) + quantity
        self.items += usage_line_items(added, self.totals, RULES.by_id, state)
        self.known |= {event.name: event.digest for event in batch.events}
        self.unpriced += contract_ids.count(None)
        count = batch.counts[TOPIC, 0]
        assert records[0].offset == self.next
        self.next = next_offsets(records)[TOPIC, 0]
        self.duplicates += count.duplicates
        self.conflicts += count.conflicts
        self.dead_letters += count.dead_letters


class BooksMachine(RuleBasedStateMachine):
    """Sends, damages, batches, crashes and closes; then compares with a recount."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Sent | None] = []
        self.books = Books()
        self.closed: list[str] = []
        self.closed_sums: dict[str, Fraction] = {}
        self.batches = 0

    @rule(
        target=sent,
        customer=st.sampled_from(["ann", "bob", "cid", "nobody"]),
        day=st.integers(1, 28),
        month=st.sampled_from([8, 9, 10]),
        hour=st.sampled_from([0, 12, 13, 23]),
        status=st.sampled_from(["succeeded", "succeeded", "failed"]),
        tokens=st.integers(0, 9),
    )
    def send(
        self, customer: str, day: int, month: int, hour: int, status: str, tokens: int
    ) -> Sent:
        time = datetime(2026, month, min(day, 20), hour, tzinfo=UTC)
        event = Sent(f"event-{len(self.log)}", customer, min(time, NOW), status, tokens)
        self.log.append(event)
        return event

    @rule(event=sent)
    def send_again(self, event: Sent) -> None:
        self.log.append(event)

    @rule(event=sent, tokens=st.integers(10, 12))
    def send_changed(self, event: Sent, tokens: int) -> None:
        self.log.append(Sent(event.name, event.customer, event.time, event.status, tokens))

    @rule()
    def send_rubbish(self) -> None:
        self.log.append(None)

    @rule(size=st.integers(1, 8), crash=st.booleans())
    def handle_a_batch(self, size: int, crash: bool) -> None:
        records = self._records(size)
        if not records:
            return
        self.batches += 1
        state = PostingState(self.batches, frozenset(self.closed))
        # What a crash leaves of a transaction is nothing.
        books = Books() if crash else self.books
        books.next = self.books.next
        books.take(records, state)

    @rule()
    def close_the_next_month(self) -> None:
        if len(self.closed) < 2:
            self.closed.append(MONTHS[len(self.closed)])
            self.closed_sums[self.closed[-1]] = self._posted_to(self.closed[-1])

    @invariant()
    def books_equal_a_recount(self) -> None:
        handled = self.log[: self.books.next]
        first: dict[str, Sent] = {}
        duplicates = conflicts = 0
        for event in handled:
            if event is None:
                continue
            kept = first.get(event.name)
            if kept is None:
                first[event.name] = event
                continue
            duplicates += kept == event
            conflicts += kept != event
        assert self.books.dead_letters == handled.count(None)
        assert self.books.duplicates == duplicates
        assert self.books.conflicts == conflicts
        assert len(self.books.known) == len(first)
        self._check_money(first.values())

    def _check_money(self, events: Iterable[Sent]) -> None:
        executions: dict[tuple[str, str], int] = {}
        tokens: dict[tuple[str, str], int] = {}
        unpriced = 0
        for event in events:
            if event.contract_id is None:
                unpriced += 1
            elif event.status == "succeeded":
                place = (event.contract_id, f"{event.time:%Y-%m}")
                executions[place] = executions.get(place, 0) + 1
                tokens[place] = tokens.get(place, 0) + event.tokens
        assert self.books.unpriced == unpriced
        for contract_id in RULES.by_id:
            for month in MONTHS:
                place = (contract_id, month)
                count = executions.get(place, 0)
                assert self._total(*place, "executions") == count
                assert self._total(*place, "input_tokens") == tokens.get(place, 0)
                assert self._amount(*place) == price_of(contract_id, count)

    @invariant()
    def closed_months_gain_nothing(self) -> None:
        assert {month: self._posted_to(month) for month in self.closed} == self.closed_sums

    def _records(self, size: int) -> list[LogRecord]:
        start = self.books.next
        return [
            LogRecord(b"rubbish" if event is None else event.written(), offset)
            for offset, event in enumerate(self.log[start : start + size], start)
        ]

    def _total(self, contract_id: str, month: str, meter: str) -> Decimal:
        return self.books.totals.get(UsageKey(contract_id, month, meter, "", ""), Decimal(0))

    def _amount(self, contract_id: str, month: str) -> Fraction:
        items = self.books.items
        return sum(
            (
                Fraction(i.amount)
                for i in items
                if (i.contract_id, i.usage_period) == (contract_id, month)
            ),
            Fraction(0),
        )

    def _posted_to(self, month: str) -> Fraction:
        items = self.books.items
        return sum((Fraction(i.amount) for i in items if i.posting_period == month), Fraction(0))


TestBooks = BooksMachine.TestCase
TestBooks.settings = settings(
    max_examples=max(10, settings().max_examples // 2), stateful_step_count=40
)
