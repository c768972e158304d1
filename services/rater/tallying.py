"""Adds up what meters read of events: what events do to the running totals. Pure.

Events of a batch are gathered by what the meters look at before anything is added up: a
batch has many events and few combinations of contract, month, status, model and key.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from services.rater.metering import EventTypeMeters
from services.rater.tokens import INPUT_TOKENS, MODEL, OUTPUT_TOKENS, PRICED, TokenPrices
from shared.money import EXACT
from shared.periods import Period

ZERO = Decimal(0)


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
        self._sums: dict[_Group, list[Any]] = {}
        self._peaks: dict[_Group, list[int | Decimal]] = {}
        self._members: dict[_Group, list[set[str]]] = {}

    def add(
        self,
        contract_id: str,
        segment: datetime,
        meters: EventTypeMeters,
        group: tuple[str | None, ...],
        values: tuple[int | Decimal, ...],
        members: tuple[str | None, ...] = (),
    ) -> None:
        """Count one event in; `segment` is the part of a month with one set of token prices."""
        key = (contract_id, segment, meters, group)
        sums = self._sums.get(key)
        if sums is None:
            self._sums[key] = [1, *values]
        else:
            sums[0] += 1
            for position, value in enumerate(values, 1):
                if type(value) is int and type(sums[position]) is int:
                    sums[position] += value
                else:
                    sums[position] = EXACT.add(sums[position], value)
        if meters.peak_positions:
            peaks = self._peaks.setdefault(key, list(values))
            for position in meters.peak_positions:
                peaks[position] = max(peaks[position], values[position])
        if members:
            found = self._members.setdefault(key, [set() for _ in members])
            for seen, member in zip(found, members, strict=True):
                if member is not None:
                    seen.add(member)

    def change(self, prices: TokenPrices) -> UsageChange:
        """Give what the events do to running totals; `prices` name what tokens are kept by."""
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


_Group = tuple[str, datetime, EventTypeMeters, tuple[str | None, ...]]


def _add(totals: dict[UsageKey, Decimal], key: UsageKey, quantity: Decimal) -> None:
    totals[key] = EXACT.add(totals.get(key, ZERO), quantity)
