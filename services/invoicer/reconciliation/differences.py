"""Differences, and the stages whose gaps they explain. Pure values."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Literal

from shared.money import EXACT

Severity = Literal["critical", "warning", "info"]
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Difference:
    """A named difference; its count and amount are what is missing in the later stage.

    Amounts are exact, in the currency's major unit; surplus is negative.
    """

    name: str
    severity: Severity
    count: Decimal
    amount: Decimal
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the way, with what went in, what came out, and what explains the gap.

    Without a currency its amounts are zero: only things are counted.
    """

    source: str
    target: str
    count_from: Decimal
    count_to: Decimal
    amount_from: Decimal
    amount_to: Decimal
    differences: tuple[Difference, ...]
    currency: str | None = None


def add(values: Iterable[Decimal]) -> Decimal:
    """Add up without losing a digit."""
    return reduce(EXACT.add, values, ZERO)


def counted(
    name: str, severity: Severity, count: int | Decimal, ids: Iterable[str] = ()
) -> Difference:
    """Make a difference of things that have no amount."""
    return Difference(name, severity, Decimal(count), ZERO, tuple(ids))


def make_stage(
    source: str,
    target: str,
    counts: tuple[Decimal | int, Decimal | int],
    amounts: tuple[Decimal, Decimal],
    differences: Iterable[Difference],
    currency: str | None = None,
) -> Stage:
    """Make a stage; what no difference explains becomes a difference of its own."""
    found = [one for one in differences if one.count or one.amount or one.ids]
    count_from, count_to = Decimal(counts[0]), Decimal(counts[1])
    count = EXACT.subtract(count_from, EXACT.add(count_to, add(one.count for one in found)))
    explained = add(one.amount for one in found)
    amount = EXACT.subtract(amounts[0], EXACT.add(amounts[1], explained))
    if count or amount:
        found.append(Difference("unexplained", "critical", count, amount))
    return Stage(source, target, count_from, count_to, *amounts, tuple(found), currency)
