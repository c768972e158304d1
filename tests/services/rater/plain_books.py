"""The same books, counted from scratch with loops and fractions. Pure; nothing of the rater.

What was sent, taken back and agreed is all that is looked at, and every price is written out
here once more, in words of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

Totals = dict[tuple[str, str, str, str, str], Fraction]
"""Quantities by contract, month, meter, dimension and value; nothing is left out but zeros."""


@dataclass(frozen=True)
class Sent:
    """An event as its producer meant it."""

    name: str
    customer: str
    time: datetime
    kind: str
    """``done`` or ``failed``: an execution; ``session``: of seats and a user."""
    number: int
    """Tokens of an execution, or half seats of a session."""

    @property
    def month(self) -> str:
        return f"{self.time:%Y-%m}"

    @property
    def model(self) -> str:
        return "sonnet" if self.number % 3 else "local"

    @property
    def user(self) -> str | None:
        return [None, "ann", "bob", "cid"][self.number % 4]

    @property
    def seats(self) -> Fraction:
        return Fraction(self.number, 2)


@dataclass
class Deal:
    """A contract, as it was agreed."""

    id: str
    customer: str
    plan: str
    dearer: bool
    starts: datetime
    ends: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        return self.starts <= moment and (self.ends is None or moment < self.ends)

    def days(self, month: str) -> tuple[int, int] | None:
        """Count the days whose last instant is the contract's, of how many; None: no touch."""
        first, after = _bounds(month)
        if self.starts >= after or (self.ends is not None and self.ends <= first):
            return None
        days = covered = 0
        while first < after:
            first += timedelta(days=1)
            days += 1
            covered += self.holds(first - timedelta(microseconds=1))
        return covered, days


def _bounds(month: str) -> tuple[datetime, datetime]:
    first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    return first, (first + timedelta(days=32)).replace(day=1)


PRICE_CHANGE = datetime(2026, 9, 16, 13, tzinfo=UTC)


def count(events: Iterable[tuple[Sent, str]]) -> Totals:
    """Count events, each given with its contract."""
    totals: Totals = {}
    seen: set[tuple[str, str, str]] = set()

    def add(contract: str, month: str, meter: str, number: Fraction, by: Mapping[str, str]) -> None:
        for dimension, value in {"": "", **by}.items():
            key = (contract, month, meter, dimension, value)
            totals[key] = totals.get(key, Fraction(0)) + number

    for event, contract in events:
        month = event.month
        if event.kind == "done":
            by = {"model": event.model, "key_label": "main"}
            add(contract, month, "executions", Fraction(1), by)
            since = "2026-09-16T13" if event.time >= PRICE_CHANGE else "2026-01-01T00"
            price = f"sonnet@{since}:00:00Z" if event.model == "sonnet" else "local@"
            by["model_price"] = price
            add(contract, month, "input_tokens", Fraction(event.number), by)
            add(contract, month, "output_tokens", Fraction(500), by)
        if event.kind == "session":
            peak = (contract, month, "peak_seats", "", "")
            if event.seats > totals.get(peak, Fraction(0)):
                totals[peak] = event.seats
            if event.user is not None and (contract, month, event.user) not in seen:
                seen.add((contract, month, event.user))
                add(contract, month, "users", Fraction(1), {})
    return {key: number for key, number in totals.items() if number}


def amounts(deal: Deal, month: str, totals: Totals) -> dict[str, Fraction]:
    """Give what a deal costs in a month, by charge; nothing where it does not touch it."""
    days = deal.days(month)
    if days is None:
        return {}
    part = Fraction(*days)

    def used(meter: str) -> Fraction:
        return totals.get((deal.id, month, meter, "", ""), Fraction(0))

    executions = int(used("executions"))
    match deal.plan:
        case "basic":
            each = Fraction("0.02") if deal.dearer else Fraction("0.012")
            costs = {"executions": executions * each, "subscription": _rounded(31 * part)}
        case "tiered":
            costs = {
                "executions": _tiered(executions),
                "support": Fraction(7 if days[0] else 0),
            }
        case "committed":
            cost = max(executions - 1, 0) * Fraction("0.45")
            cost = min(max(cost, _rounded(Fraction("0.5") * part)), Fraction("0.8"))
            costs = {"executions": cost}
        case "volume":
            costs = {"executions": _volume(executions)}
        case "seats":
            packages = [0, 0, 1, 1][int(used("users"))]
            least = _rounded(Fraction("1.2") * part)
            costs = {
                "seats": used("peak_seats") * 2,
                "users": max(packages * Fraction(5), least),
            }
    return {charge: cost for charge, cost in costs.items() if cost}


def _rounded(amount: Fraction) -> Fraction:
    """Round to twelve places, a half up."""
    return Fraction(int(amount * 10**12 + Fraction(1, 2)), 10**12)


def _tiered(executions: int) -> Fraction:
    cost = Fraction(2)
    for number in range(1, executions + 1):
        if number == 1:
            each = Fraction(5)
        elif number <= 3:
            each = Fraction("2.5")
        else:
            each = Fraction("0.1")
        if number > 4:
            each *= Fraction("0.667")
        elif number > 2:
            each *= Fraction("0.875")
        cost += each
        if number == 2:
            cost += 7
        if number == 4:
            cost += 1
    return cost


def _volume(executions: int) -> Fraction:
    if executions <= 2:
        return Fraction(1) + 3 * executions
    if executions == 3:
        return Fraction("3.5")
    return Fraction("0.5") + Fraction(executions, 2)
