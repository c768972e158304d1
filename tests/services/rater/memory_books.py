"""The rater's books in memory: its own pure functions, with lists and dicts for tables.

Each act does in the order of the rater's modules what they do in Postgres: `rating`, `months`,
`waiting`, `moving`, `repricing`, `counting` and `corrections.voiding`. An act that is crashed
leaves what a transaction leaves that was rolled back: nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.rater.batch import EventColumns, StoredEvent, next_offsets
from services.rater.metering import EventTypeMeters
from services.rater.posting import (
    LineItem,
    Posted,
    kind_of,
    line_items,
    owed_line_items,
    usage_line_items,
)
from services.rater.pricing import Band, price
from services.rater.records import RecordReader
from services.rater.rereading import stored_event
from services.rater.rules import Rules
from services.rater.tallying import UsageChange, UsageKey, UsageTally
from services.rater.terms import Contract, PostingState
from services.rater.tokens import TokenPrices
from shared.events import TimeLimits
from shared.periods import Period
from tests.services.rater.factories import TOPIC, LogRecord, rules_of

ZERO = Decimal(0)
LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)

Name = tuple[str, str]
Month = tuple[str, str]


class FencedError(Exception):
    """The records do not begin where the books stand."""


class CrashError(Exception):
    """The process died before its transaction was committed."""


@dataclass
class Tables:
    """What Postgres would hold. Rows are never changed in place, so a copy is a snapshot."""

    next: int = 0
    batches: int = 0
    events: dict[Name, dict[str, Any]] = field(default_factory=dict)
    contracts: dict[str, Contract] = field(default_factory=dict)
    months: set[Month] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    totals: dict[UsageKey, Decimal] = field(default_factory=dict)
    members: set[tuple[UsageKey, str]] = field(default_factory=set)
    items: list[LineItem] = field(default_factory=list)
    duplicates: int = 0
    conflicts: int = 0
    dead_letters: int = 0

    def copy(self) -> "Tables":
        """Give a snapshot."""
        return replace(
            self,
            events=dict(self.events),
            contracts=dict(self.contracts),
            months=set(self.months),
            closed=set(self.closed),
            totals=dict(self.totals),
            members=set(self.members),
            items=list(self.items),
        )


class Books:
    """The tables, and the acts on them."""

    def __init__(self, meters: Mapping[str, EventTypeMeters], prices: TokenPrices) -> None:
        self.tables = Tables()
        self._meters = dict(meters)
        self._prices = prices
        self._rules = Rules()
        self.forget()

    def forget(self) -> None:
        """Lose what was kept in memory, as a process does that is started again."""
        self._rules = rules_of(list(self.tables.contracts.values()))
        self._rules.meters = self._meters
        self._rules.prices = self._prices

    @contextmanager
    def _transaction(self, *, crash: bool = False) -> Iterator[PostingState]:
        before = self.tables.copy()
        self.tables.batches += 1
        yield PostingState(self.tables.batches, frozenset(self.tables.closed))
        if crash:
            self.tables = before
            self.forget()
            raise CrashError

    # rating

    def take(self, records: Sequence[LogRecord], *, crash: bool = False) -> None:
        """Handle a batch of the log's records."""
        with self._transaction(crash=crash) as state:
            tables = self.tables
            if records[0].offset != tables.next:
                raise FencedError
            tables.next = next_offsets([records])[TOPIC, 0]
            reader = RecordReader(self._meters, LIMITS)
            reader.read(records)
            batch = reader.batch
            names = {event.name for event in batch.events}
            known = {name: row["digest"] for name, row in tables.events.items() if name in names}
            if known:
                batch.drop(known, TOPIC)
            contract_ids = self._contract_ids(batch.events)
            for event, contract_id in zip(batch.events, contract_ids, strict=True):
                tables.events[event.name] = _row(event, contract_id)
            change = self._rate(state, batch.events, contract_ids)
            count = batch.counts[TOPIC, 0]
            tables.duplicates += count.duplicates
            tables.conflicts += count.conflicts
            tables.dead_letters += count.dead_letters
        self._rules.opened |= change.contract_months()

    def _contract_ids(self, events: Sequence[StoredEvent]) -> list[str | None]:
        customers = [event.customer_id for event in events]
        return self._rules.contract_ids(customers, [event.time for event in events])

    def _rate(
        self,
        state: PostingState,
        events: Sequence[StoredEvent],
        contract_ids: Sequence[str | None],
    ) -> UsageChange:
        tally = UsageTally()
        tally.add(EventColumns.of(events), contract_ids, self._prices)
        change = tally.change(self._prices)
        if change:
            self._open(state, change.contract_months() - self._rules.opened)
            totals = self._change_usage(change)
            self.tables.items += usage_line_items(totals, self._rules.by_id, state)
        return change

    def _change_usage(self, change: UsageChange) -> dict[UsageKey, tuple[Decimal, Decimal]]:
        tables = self.tables
        found: dict[UsageKey, tuple[Decimal, Decimal]] = {}
        new = [
            (key, member)
            for key, members in change.members.items()
            for member in members
            if (key, member) not in tables.members
        ]
        tables.members.update(new)
        added = list(change.added.items()) + [(key, Decimal(1)) for key, _ in new]
        for key, quantity in added:
            before = tables.totals.get(key, ZERO)
            tables.totals[key] = before + quantity
            found[key] = (found.get(key, (before,))[0], tables.totals[key])
        for key, peak in change.peaks.items():
            before = tables.totals.get(key, ZERO)
            tables.totals[key] = max(before, peak)
            found[key] = (before, tables.totals[key])
        return found

    # months

    def _open(self, state: PostingState, months: Iterable[Month]) -> None:
        for contract_id, period in sorted(set(months) - self.tables.months):
            self.tables.months.add((contract_id, period))
            contract = self._rules.by_id[contract_id]
            coverage = contract.coverage(Period.parse(period))
            if coverage is None:
                continue
            for charge in contract.charges:
                bands = price(charge, ZERO, coverage)
                self.tables.items += line_items(
                    contract, charge.code, bands, period, state, kind_of(charge)
                )

    def open_months(self, periods: Iterable[Period]) -> None:
        """Open every month that contracts have entered."""
        with self._transaction() as state:
            self._open(
                state,
                {
                    (contract.id, str(period))
                    for contract in self.tables.contracts.values()
                    for period in periods
                    if contract.coverage(period) is not None
                },
            )

    def close(self, period: Period) -> None:
        """Close a month: what is posted from then on goes to a later one."""
        self.tables.closed.add(str(period))

    # contracts

    def start(self, contract: Contract) -> None:
        """Put a customer on a contract."""
        self.tables.contracts[contract.id] = contract
        self.forget()

    def end(self, contract_id: str, at: datetime, new: Contract | None = None) -> None:
        """End a contract, and go on with a new one or with none; its usage from then on moves."""
        with self._transaction() as state:
            tables = self.tables
            tables.contracts[contract_id] = replace(tables.contracts[contract_id], ends_at=at)
            if new is not None:
                tables.contracts[new.id] = new
            self.forget()
            to = new.id if new else None
            for name, row in tables.events.items():
                if row["contract_id"] == contract_id and row["time"] >= at:
                    tables.events[name] = {**row, "contract_id": to}
            periods = {
                period
                for one, period in tables.months
                if one == contract_id and period >= str(Period.of(at))
            }
            ids = [contract_id] if to is None else [contract_id, to]
            self._count_and_reprice(state, {(one, period) for one in ids for period in periods})

    def rate_waiting(self) -> None:
        """Rate events that waited and now have a contract."""
        with self._transaction() as state:
            rows = [
                row
                for row in self.tables.events.values()
                if row["contract_id"] is None
                and not row["voided"]
                and self._rules.contract_at(row["customer_id"], row["time"])
            ]
            events = [stored_event(row, self._meters) for row in rows]
            contract_ids = self._contract_ids(events)
            for event, contract_id in zip(events, contract_ids, strict=True):
                row = self.tables.events[event.name]
                self.tables.events[event.name] = {**row, "contract_id": contract_id}
            self._rate(state, events, contract_ids)

    # corrections

    def void(self, names: Collection[Name], *, crash: bool = False) -> None:
        """Take events back that stand and were not voided before."""
        with self._transaction(crash=crash) as state:
            months: set[Month] = set()
            for name in names:
                row = self.tables.events[name]
                assert not row["voided"]
                self.tables.events[name] = {**row, "voided": True}
                if row["contract_id"] is not None:
                    months.add((row["contract_id"], str(Period.of(row["time"]))))
            self._count_and_reprice(state, months)

    def _count_and_reprice(self, state: PostingState, months: Collection[Month]) -> None:
        by_id = self._rules.by_id
        self._open(state, {m for m in months if by_id[m[0]].coverage(Period.parse(m[1]))})
        counted = self._count(months)
        tables = self.tables
        tables.totals = {key: q for key, q in tables.totals.items() if key[:2] not in months}
        tables.members = {one for one in tables.members if one[0][:2] not in months}
        self._change_usage(counted)
        tables.items += self._owed(state, months, counted.totals())

    def _count(self, months: Collection[Month]) -> UsageChange:
        tally = UsageTally()
        for row in self.tables.events.values():
            if row["voided"] or row["contract_id"] is None:
                continue
            if (row["contract_id"], str(Period.of(row["time"]))) in months:
                event = stored_event(row, self._meters)
                tally.add(EventColumns.of([event]), [row["contract_id"]], self._prices)
        return tally.change(self._prices)

    def _owed(
        self, state: PostingState, months: Collection[Month], totals: Mapping[UsageKey, Decimal]
    ) -> list[LineItem]:
        posted = self._posted(months)
        return [
            item
            for contract_id, period in sorted(months)
            for item in owed_line_items(
                self._rules.by_id[contract_id],
                Period.parse(period),
                totals,
                posted.get((contract_id, period), {}),
                state,
            )
        ]

    def _posted(self, months: Collection[Month]) -> dict[Month, dict[str, Posted]]:
        sums: dict[tuple[Month, str, str, Decimal], list[Any]] = {}
        for number, item in enumerate(self.tables.items, 1):
            month = (item.contract_id, item.usage_period)
            if month in months:
                row = sums.setdefault(
                    (month, item.charge, item.band, item.unit_price), [number, ZERO, ZERO]
                )
                row[1] += item.quantity
                row[2] += item.amount
        found: dict[Month, dict[str, Posted]] = {}
        for (month, charge, band, unit_price), (first, quantity, amount) in sums.items():
            posted = found.setdefault(month, {}).setdefault(charge, Posted())
            posted.add(Band(band, quantity, unit_price, amount), first)
        return found

    def check(self) -> tuple[UsageChange, list[LineItem]]:
        """Count all months from their events; give that, and what is owed: nothing, if well."""
        months = set(self.tables.months)
        counted = self._count(months)
        state = PostingState(0, frozenset(self.tables.closed))
        return counted, self._owed(state, months, counted.totals())


def _row(event: StoredEvent, contract_id: str | None) -> dict[str, Any]:
    names = ("source", "id", "type", "customer_id", "time", "data", "digest", "partition")
    return {name: getattr(event, name) for name in names} | {
        "log_offset": event.offset,
        "received_at": event.received_at,
        "contract_id": contract_id,
        "voided": False,
    }
