"""Which thresholds of which alerts a customer's month has reached. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from shared.money import EXACT


class Measure(NamedTuple):
    """What is measured: the quantity of a meter, or what is due in a currency; one is None."""

    meter: str | None
    currency: str | None


class Measured(NamedTuple):
    """Whose month was measured, and what of it."""

    customer_id: str
    period: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert. Without a customer it is for every one; it looks at no month before `since`.

    `thresholds` are percents of the budget where there is one, and quantities or amounts, in
    the currency's major unit, where there is none.
    """

    id: str
    customer_id: str | None
    measure: Measure
    budget: Decimal | None
    thresholds: tuple[Decimal, ...]
    since: str

    def bound(self, threshold: Decimal) -> Decimal:
        """Give the amount or quantity at which a threshold is reached."""
        if self.budget is None:
            return threshold
        return EXACT.scaleb(EXACT.multiply(self.budget, threshold), -2)


class Raised(NamedTuple):
    """What an alert is raised for, once."""

    alert_id: str
    customer_id: str
    period: str
    threshold: Decimal


@dataclass(frozen=True, slots=True)
class Reached:
    """A threshold that a month has come to, and what the month comes to."""

    rule: Rule
    customer_id: str
    period: str
    threshold: Decimal
    amount: Decimal

    @property
    def key(self) -> Raised:
        """What it is raised for."""
        return Raised(self.rule.id, self.customer_id, self.period, self.threshold)


def newly_reached(
    rules: Iterable[Rule], totals: Mapping[Measured, Decimal], raised: Collection[Raised]
) -> list[Reached]:
    """Give every threshold that is reached and was not raised, always in the same order.

    Exactly on the bound is reached. Several thresholds of one alert each count for themselves.
    """
    by_whom: dict[tuple[Measure, str | None], list[tuple[Rule, list[tuple[Decimal, Decimal]]]]] = {}
    for rule in rules:
        bounds = [(threshold, rule.bound(threshold)) for threshold in sorted(rule.thresholds)]
        by_whom.setdefault((rule.measure, rule.customer_id), []).append((rule, bounds))
    found: list[Reached] = []
    for (customer_id, period, measure), amount in totals.items():
        for whom in (None, customer_id):
            for rule, bounds in by_whom.get((measure, whom), ()):
                if period < rule.since:
                    continue
                for threshold, bound in bounds:
                    if amount < bound:
                        break
                    reached = Reached(rule, customer_id, period, threshold, amount)
                    if reached.key not in raised:
                        found.append(reached)
    return sorted(found, key=lambda one: one.key)
