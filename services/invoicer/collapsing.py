"""Groups of line items, one a line; and how many of them become few where they must. Pure.

Stripe takes so many lines on an invoice and no more. Where there would be more, all of them are
collapsed alike, by the first rule of these whose lines fit:

1. a contract's charge in a month of use, all its bands and prices
2. a contract's charge, all its months of use
3. a contract's usage, and its fees
4. all usage, and all fees

A line that stands for several has their exact amounts added up, and is rounded once like any
other; what it stands for is in the invoice's detail file.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from typing import TypeAlias

from shared.money import EXACT

ZERO = Decimal(0)

_ADJUSTMENT = "adjustment"

LineKey: TypeAlias = tuple[str, str, str, str, Decimal]
"""Contract, charge, band, usage period and unit price."""


@dataclass(slots=True)
class Group:
    """Line items that are one line, or part of one that stands for several."""

    key: LineKey
    quantity: Decimal = ZERO
    amount: Decimal = ZERO
    ids: list[int] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """What the line is; adjustments of what is on it too do not change that."""
        return min(self.kinds - {_ADJUSTMENT}, default=_ADJUSTMENT)

    @property
    def shown(self) -> bool:
        """A line that came to nothing in quantity and amount is not shown."""
        return bool(self.quantity or self.amount)


@dataclass(frozen=True, slots=True)
class Several:
    """Groups that are one line together; where it is one group, that is the line."""

    groups: Sequence[Group]

    @property
    def quantity(self) -> Decimal:
        """The groups' quantities added up, whatever each is counted in."""
        return reduce(EXACT.add, (group.quantity for group in self.groups), ZERO)

    @property
    def amount(self) -> Decimal:
        """The groups' exact amounts added up."""
        return reduce(EXACT.add, (group.amount for group in self.groups), ZERO)

    @property
    def kind(self) -> str:
        """What the line is, as of a single group that had the kinds of all."""
        return min({group.kind for group in self.groups} - {_ADJUSTMENT}, default=_ADJUSTMENT)

    @property
    def months(self) -> list[str]:
        """The months of use, the first one first."""
        return sorted({group.key[3] for group in self.groups})

    def common(self, part: int) -> str | None:
        """Give a part of the key where all groups agree on it, else None."""
        found = {str(group.key[part]) for group in self.groups}
        return found.pop() if len(found) == 1 else None


def collapse(
    groups: Sequence[Group], fees: Collection[tuple[str, str]], most: int
) -> tuple[list[Several], bool]:
    """Give the lines that groups, in their order, become, and whether they were collapsed.

    `fees` are the contracts and charges that are fees. A line stands where the first of its
    groups stood. There may be more lines than `most` only where that is below 2.
    """
    if len(groups) <= most:
        return [Several((group,)) for group in groups], False
    lines: list[Several] = []
    for rule in _rules(fees):
        parts: dict[Hashable, list[Group]] = {}
        for group in groups:
            parts.setdefault(rule(group.key), []).append(group)
        lines = [Several(part) for part in parts.values()]
        if len(lines) <= most:
            break
    return lines, True


def _rules(fees: Collection[tuple[str, str]]) -> list[Callable[[LineKey], Hashable]]:
    """Give what the groups of a line have in common, from the finest rule to the coarsest."""
    return [
        lambda key: (key[0], key[1], key[3]),
        lambda key: (key[0], key[1]),
        lambda key: (key[0], key[:2] in fees),
        lambda key: key[:2] in fees,
    ]
