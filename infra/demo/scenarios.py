"""Who is billed in the demo, for how many executions, and what the price page expects. Pure.

The expected amounts come from the page's rates by an arithmetic of their own, in fractions;
nothing of the rater's pricing is used, so that the two can disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from shared.periods import Period

EXECUTIONS = (1_000, 5_000, 10_000, 50_000, 100_000)
"""The page's five scenarios: executions a month."""

FEE_OF = {
    "byok": Fraction("0.002"),
    "byok_pro": Fraction("0.001"),
    "solo": Fraction("0.008"),
    "basic": Fraction("0.012"),
    "standard": Fraction("0.056"),
    "premium": Fraction("0.0896"),
}
"""US dollars an execution, by plan."""

MONTHLY_OF = {"byok_pro": Fraction(19)}
"""US dollars a month, for the plans that have such a fee."""

VOLUME = ((50_000, 0), (250_000, 10), (1_000_000, 20), (None, 30))
"""The discount `volume-50k`: up to how many executions, and how many percent less each."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A customer's time on a plan, and the succeeded executions in it."""

    plan: str
    starts_at: datetime
    executions: int
    discount: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One customer of the demo; `expected_cents` is what their invoice must come to."""

    customer_id: str
    plan: str
    label: str
    stays: tuple[Stay, ...]
    expected_cents: int

    @property
    def executions(self) -> int:
        """All succeeded executions."""
        return sum(stay.executions for stay in self.stays)


def scenarios(period: Period, scale: Fraction) -> list[Scenario]:
    """Make the customers of the demo; `scale` multiplies their executions (at least one each)."""
    return [*_plain(period, scale), _volume(period, scale), _switched(period, scale)]


def _plain(period: Period, scale: Fraction) -> Iterator[Scenario]:
    for plan, fee in FEE_OF.items():
        for full in EXECUTIONS:
            count = _scaled(full, scale)
            yield Scenario(
                f"{plan.replace('_', '-')}-{full}",
                plan,
                f"{count:,} executions",
                (Stay(plan, period.start, count),),
                cents(MONTHLY_OF.get(plan, Fraction(0))) + cents(count * fee),
            )


def _volume(period: Period, scale: Fraction) -> Scenario:
    count = _scaled(100_000, scale)
    return Scenario(
        "byok-volume-100000",
        "byok",
        f"{count:,} executions, volume-50k",
        (Stay("byok", period.start, count, "volume-50k"),),
        sum(cents(part) for part in _volume_parts(count)),
    )


def _volume_parts(count: int) -> Iterator[Fraction]:
    """Give what each tier of the discount comes to; each is a line of its own."""
    below = 0
    for up_to, percent in VOLUME:
        inside = max(0, (count if up_to is None else min(count, up_to)) - below)
        yield inside * FEE_OF["byok"] * Fraction(100 - percent, 100)
        below = up_to or 0


def _switched(period: Period, scale: Fraction) -> Scenario:
    """A customer who goes from basic to byok_pro at the start of the month's 16th day."""
    at = period.start.replace(day=16)
    count = _scaled(20_000, scale)
    fee = MONTHLY_OF["byok_pro"] * Fraction(period.days - 15, period.days)
    return Scenario(
        "basic-to-byok-pro",
        "basic → byok_pro",
        f"{count:,} executions on each, switched on the 16th",
        (Stay("basic", period.start, count), Stay("byok_pro", at, count)),
        cents(count * FEE_OF["basic"]) + cents(fee) + cents(count * FEE_OF["byok_pro"]),
    )


def cents(dollars: Fraction) -> int:
    """Round to whole cents, half up; the demo's amounts are never negative."""
    return (dollars * 200 + 1) // 2


def _scaled(full: int, scale: Fraction) -> int:
    return max(1, round(full * scale))
