"""Adds up what meters read of events: what events do to the running totals. Pure.

Events of a batch are gathered by what the meters look at before anything is added up: a
batch has many events and few combinations of contract, month, status, model and key.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import reduce
from itertools import compress
from typing import Any, NamedTuple

from services.rater.batch import EventColumns
from services.rater.metering import EventTypeMeters
from services.rater.tokens import (
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    PRICED,
    TokenPrices,
    segment_of,
)
from shared.money import EXACT
from shared.periods import Period

ZERO = Decimal(0)


_MOST_PENDING = 100_000
"""Events that are kept apart until they are added up."""

_Group = tuple[str, datetime, EventTypeMeters, tuple[str | None, ...]]
"""What events are gathered by: contract, segment of a month, meters, and what these look at."""

_Values = tuple[int | Decimal, ...]


class UsageKey(NamedTuple):
    """What a quantity is kept for; with an empty dimension it is the whole."""

    contract_id: str
    usage_period: str
    meter: str
    dimension: str
    value: str


@dataclass(slots=True)
class UsageChange:
    """What events do to running totals: by sums, by peaks, and by the values that they had."""

    added: dict[UsageKey, Decimal] = field(default_factory=dict)
    peaks: dict[UsageKey, Decimal] = field(default_factory=dict)
    members: dict[UsageKey, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.peaks or self.members)

    def contract_months(self) -> set[tuple[str, str]]:
        """Name the contracts and months that it is about."""
        keys = (*self.added, *self.peaks, *self.members)
        return {(key.contract_id, key.usage_period) for key in keys}

    def totals(self) -> dict[UsageKey, Decimal]:
        """Give the quantities that these events alone come to."""
        counted = {key: Decimal(len(members)) for key, members in self.members.items()}
        return {**self.added, **self.peaks, **counted}


class UsageTally:
    """Adds up events to what they do to running totals."""

    def __init__(self) -> None:
        self._gathered: defaultdict[_Group, list[_Values]] = defaultdict(list)
        self._pending = 0
        self._sums: dict[_Group, list[int | Decimal]] = {}
        self._peaks: dict[_Group, list[int | Decimal]] = {}
        self._members: dict[_Group, list[set[str]]] = {}

    def add(
        self, events: EventColumns, contract_ids: Sequence[str | None], prices: TokenPrices
    ) -> None:
        """Count events in, each under its contract and the month of its time; unpriced ones not."""
        if None in contract_ids or None in events.meters:
            pairs = zip(contract_ids, events.meters, strict=True)
            priced = [None not in pair for pair in pairs]
            events = events.where(priced)
            contract_ids = list(compress(contract_ids, priced))
        if not contract_ids:
            return
        segments = _segments(events.times, prices)
        # Each is a `_Group`: there is no None left.
        keys: list[Any] = list(
            zip(contract_ids, segments, events.meters, events.groups, strict=True)
        )
        gathered = self._gathered
        for key, values in zip(keys, events.values, strict=True):
            gathered[key].append(values)
        if any(events.members):
            for key, members in zip(keys, events.members, strict=True):
                found = self._members.setdefault(key, [set() for _ in members])
                for seen, member in zip(found, members, strict=True):
                    if member is not None:
                        seen.add(member)
        self._pending += len(keys)
        if self._pending > _MOST_PENDING:
            self._add_up()

    def _add_up(self) -> None:
        for key, gathered in self._gathered.items():
            columns = list(zip(*gathered, strict=True))
            sums = [len(gathered), *map(_sum, columns)]
            before = self._sums.get(key)
            self._sums[key] = (
                sums if before is None else list(map(_sum, zip(before, sums, strict=True)))
            )
            for position in key[2].peak_positions:
                peaks = self._peaks.setdefault(key, [0] * len(columns))
                peaks[position] = max(peaks[position], *columns[position])
        self._gathered.clear()
        self._pending = 0

    def change(self, prices: TokenPrices) -> UsageChange:
        """Give what the events do to running totals; `prices` name what tokens are kept by."""
        self._add_up()
        change = UsageChange()
        for key, sums in self._sums.items():
            contract_id, segment, meters, group = key
            period = str(Period.of(segment))
            for code, meter, place in meters.counting(group):
                splits = [("", ""), *meters.splits(meter, group)]
                if code in (INPUT_TOKENS, OUTPUT_TOKENS):
                    splits += [
                        (PRICED, prices.name_at(value, segment))
                        for name, value in splits
                        if name == MODEL
                    ]
                for dimension, value in splits:
                    total = UsageKey(contract_id, period, code, dimension, value)
                    match meter.aggregate:
                        case "count":
                            _add(change.added, total, Decimal(sums[0]))
                        case "sum":
                            assert place is not None
                            _add(change.added, total, Decimal(sums[place + 1]))
                        case "max":
                            assert place is not None
                            peak = Decimal(self._peaks[key][place])
                            change.peaks[total] = max(peak, change.peaks.get(total, ZERO))
                        case "unique_count":
                            assert place is not None
                            seen = self._members[key][place]
                            change.members.setdefault(total, set()).update(seen)
        return change


def _segments(times: Sequence[datetime], prices: TokenPrices) -> list[datetime]:
    """Give the segment of its month in which each time lies; most often all lie in one."""
    first, last = min(times), max(times)
    if Period.of(first) == Period.of(last):
        segments = prices.segments(Period.of(first))
        if segment_of(segments, first) == segment_of(segments, last):
            return [segment_of(segments, first)] * len(times)
    months = {
        month: prices.segments(Period(*month))
        for month in {(time.year, time.month) for time in times}
    }
    return [segment_of(months[time.year, time.month], time) for time in times]


def _sum(values: Sequence[int | Decimal]) -> int | Decimal:
    """Add up exactly: integers always are, decimals in a context that sees to it."""
    return sum(values) if set(map(type, values)) == {int} else reduce(EXACT.add, values, ZERO)


def _add(totals: dict[UsageKey, Decimal], key: UsageKey, quantity: Decimal) -> None:
    totals[key] = EXACT.add(totals.get(key, ZERO), quantity)
