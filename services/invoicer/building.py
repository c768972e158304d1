"""From line items to an invoice: grouped, added up exactly, rounded once a line. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from services.invoicer.describing import describe
from shared.money import EXACT, round_to_minor

ZERO = Decimal(0)

_ADJUSTMENT = "adjustment"
_RANKS = {"free": 0, "discount": 2, "minimum": 3, "maximum": 4}
"""Where a band stands by its first word: as the price is worked out; 1 is what units cost."""

_LineKey: TypeAlias = tuple[str, str, str, str, Decimal]


@dataclass(frozen=True, slots=True)
class Posted:
    """Line items of one contract, charge, band, kind, usage period and unit price, added up.

    How they were grouped before makes no difference: each may come alone, or all together.
    `amount` is exact, in the currency's major unit.
    """

    ids: Sequence[int]
    contract_id: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ContractFacts:
    """What an invoice says of a contract, and sorts it by."""

    plan: str
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceKey:
    """What there is one invoice for (I8)."""

    customer_id: str
    period: str
    currency: str
    kind: str = "monthly"
    revision: int = 1


@dataclass(frozen=True, slots=True)
class DraftLine:
    """One line of an invoice; `amount_minor` is the only rounded figure.

    Its kind is `adjustment` only where all its line items are.
    """

    position: int
    contract_id: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: Decimal
    unit_price: Decimal
    exact_amount: Decimal
    amount_minor: int
    description: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice to be. `placed` names every line item: its line, None where not shown."""

    key: InvoiceKey
    lines: tuple[DraftLine, ...]
    placed: Mapping[int, int | None]

    @property
    def total_minor(self) -> int:
        """The sum of the lines' rounded amounts, in minor units."""
        return sum(line.amount_minor for line in self.lines)


@dataclass(slots=True)
class _Group:
    key: _LineKey
    quantity: Decimal
    amount: Decimal
    ids: list[int]
    kinds: set[str]

    @property
    def kind(self) -> str:
        """What the line is; adjustments of what is on it too do not change that."""
        return min(self.kinds - {_ADJUSTMENT}, default=_ADJUSTMENT)

    @property
    def shown(self) -> bool:
        """A line that came to nothing in quantity and amount is not shown."""
        return bool(self.quantity or self.amount)


def build_draft(
    key: InvoiceKey, items: Iterable[Posted], contracts: Mapping[str, ContractFacts]
) -> Draft:
    """Make one customer's invoice from the line items that post to its period and currency.

    Line items of one contract, charge, band, usage period and unit price become a line, whose
    exact sum is rounded once: an adjustment stands on the line that it adjusts, as if that had
    been so from the start. The order of the line items makes no difference.
    """
    found = _group(items)
    fees = {group.key[:2] for group in found if group.kind == "recurring"}
    groups = sorted(found, key=lambda group: _order(group.key, contracts, fees))
    shown = [group for group in groups if group.shown]
    lines = tuple(_line(key, position, group, contracts) for position, group in enumerate(shown, 1))
    placed: dict[int, int | None] = {}
    for group in groups:
        placed.update(dict.fromkeys(group.ids))
    for position, group in enumerate(shown, 1):
        placed.update(dict.fromkeys(group.ids, position))
    return Draft(key, lines, placed)


def _group(items: Iterable[Posted]) -> Sequence[_Group]:
    groups: dict[_LineKey, _Group] = {}
    for item in items:
        key = (item.contract_id, item.charge, item.band, item.usage_period, item.unit_price)
        group = groups.setdefault(key, _Group(key, ZERO, ZERO, [], set()))
        group.quantity = EXACT.add(group.quantity, item.quantity)
        group.amount = EXACT.add(group.amount, item.amount)
        group.ids.extend(item.ids)
        group.kinds.add(item.kind)
    return list(groups.values())


def _line(
    key: InvoiceKey, position: int, group: _Group, contracts: Mapping[str, ContractFacts]
) -> DraftLine:
    contract_id, charge, band, usage_period, unit_price = group.key
    description = describe(
        plan=contracts[contract_id].plan,
        charge=charge,
        band=band,
        kind=group.kind,
        usage_period=usage_period,
        posting_period=key.period,
        quantity=group.quantity,
        unit_price=unit_price,
        exact_amount=group.amount,
        currency=key.currency,
    )
    return DraftLine(
        position,
        contract_id,
        charge,
        band,
        group.kind,
        usage_period,
        group.quantity,
        unit_price,
        group.amount,
        round_to_minor(group.amount, key.currency),
        description,
    )


def _order(
    key: _LineKey, contracts: Mapping[str, ContractFacts], fees: Collection[tuple[str, str]]
) -> tuple[object, ...]:
    """Sort by contract in time, then month, fees before usage, charge, band as numbers.

    `fees` are contracts and charges; an adjustment of a fee does not say itself that it is one.
    """
    contract_id, charge, band, usage_period, unit_price = key
    return (
        contracts[contract_id].starts_at,
        contract_id,
        usage_period,
        (contract_id, charge) not in fees,
        charge,
        _RANKS.get(band.partition(" ")[0], 1),
        _natural(band),
        unit_price,
    )


def _natural(label: str) -> list[tuple[int, Decimal, str]]:
    """Split a label so that its numbers sort as numbers: ``over 50000`` after ``0 to 50000``."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", label.removeprefix("over "))
    return [(0, Decimal(part), "") if part[0].isdecimal() else (1, ZERO, part) for part in parts]
