"""Makes charges of every shape for the property tests, with what makes them cost something. Pure.

Bounds, free units and sizes lie on a grid, and quantities lie on it too, often at a bound or
one step beside it. On the coarse grid of tenths a sum piece by piece can follow; the fine one
goes to the limits of what the catalogue takes.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import compress, product
from typing import Any, Literal, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from services.rater.pricing import (
    Charge,
    Coverage,
    FlatCharge,
    GraduatedCharge,
    MeteredCharge,
    PackageCharge,
    RecurringCharge,
    Tier,
    UnitCharge,
    VolumeCharge,
)
from services.rater.pricing.discounts import DiscountSchedule, DiscountTier, misfit
from shared.periods import Period

THOROUGH = settings(max_examples=max(200, settings().max_examples))
"""At least 200 examples, for what money hangs on."""


@dataclass(frozen=True)
class Grid:
    """How fine quantities and prices are, and how large."""

    places: int
    most: int
    """The largest quantity, in steps."""
    price_places: int
    dearest: int
    percent_places: int

    def quantity(self, steps: int) -> Decimal:
        """Give a quantity of so many steps."""
        return Decimal(steps).scaleb(-self.places)

    def steps(self, quantity: Decimal) -> int:
        """Count the steps in a quantity."""
        return int(quantity.scaleb(self.places))


@cache
def prices(grid: Grid) -> st.SearchStrategy[Decimal]:
    """Make prices and amounts."""
    most = grid.dearest * 10**grid.price_places
    return st.integers(0, most).map(lambda steps: Decimal(steps).scaleb(-grid.price_places))


@cache
def percents(grid: Grid) -> st.SearchStrategy[Decimal]:
    """Make percentages, both ends included."""
    most = 100 * 10**grid.percent_places
    return st.integers(0, most).map(lambda steps: Decimal(steps).scaleb(-grid.percent_places))


@cache
def quantities(grid: Grid, least: int, most: int) -> st.SearchStrategy[Decimal]:
    """Make quantities of so many steps."""
    return st.integers(least, most).map(grid.quantity)


@cache
def bounds(grid: Grid) -> st.SearchStrategy[list[Decimal | None]]:
    """Make the bounds of one to three tiers, the last without end."""
    some = st.lists(st.integers(1, grid.most * 3 // 4), max_size=2, unique=True)
    return some.map(lambda found: [*map(grid.quantity, sorted(found)), None])


TENTHS = Grid(places=1, most=240, price_places=6, dearest=100, percent_places=3)
FINE = Grid(places=12, most=10**24, price_places=12, dearest=10**12, percent_places=12)
_YES_OR_NO = st.booleans()
_MODES: st.SearchStrategy[Literal["graduated", "volume"]]
_MODES = st.sampled_from(["graduated", "volume"])
_SHAPES = st.sampled_from(["unit", "graduated", "volume", "package"])


@st.composite
def tiers(draw: st.DrawFn, grid: Grid = TENTHS) -> list[Tier]:
    """Make tiers of prices, with flat fees or without."""
    amounts, none = prices(grid), Decimal(0)
    with_fees = draw(_YES_OR_NO)
    return [
        Tier(bound, draw(amounts), draw(amounts) if with_fees else none)
        for bound in draw(bounds(grid))
    ]


@st.composite
def schedules(draw: st.DrawFn, grid: Grid = TENTHS, charge: str = "executions") -> DiscountSchedule:
    """Make a discount schedule of either mode."""
    found = [DiscountTier(bound, draw(percents(grid))) for bound in draw(bounds(grid))]
    return DiscountSchedule(charge, found, mode=draw(_MODES))


@st.composite
def metered_charges(draw: st.DrawFn, grid: Grid = TENTHS) -> MeteredCharge:
    """Make a charge on executions of any shape, with any of what may come on top."""
    amounts = prices(grid)
    common: dict[str, Any] = {"code": "executions", "meter": "executions"}
    on_top = {
        "discount_percent": percents(grid),
        "free_units": quantities(grid, 0, grid.most // 2),
        "minimum_spend": amounts,
        "maximum_spend": amounts,
    }
    for name in draw(_ON_TOP):
        common[name] = draw(on_top[name])
    match draw(_SHAPES):
        case "unit":
            return UnitCharge(**common, unit_price=draw(amounts))
        case "graduated":
            return GraduatedCharge(**common, tiers=draw(tiers(grid)))
        case "volume":
            return VolumeCharge(**common, tiers=draw(tiers(grid)))
        case _:
            size = draw(quantities(grid, 1, grid.most))
            return PackageCharge(**common, package_size=size, package_price=draw(amounts))


_NAMES = ("discount_percent", "free_units", "minimum_spend", "maximum_spend")
_ON_TOP = st.sampled_from(
    [tuple(compress(_NAMES, chosen)) for chosen in product((False, True), repeat=len(_NAMES))]
)
"""Every choice of what comes on top of a price."""


@st.composite
def fees(draw: st.DrawFn, grid: Grid = TENTHS) -> Charge:
    """Make a fee that looks at no quantity."""
    percent = draw(percents(grid)) if draw(_YES_OR_NO) else None
    shape = FlatCharge if draw(_YES_OR_NO) else RecurringCharge
    return shape(code="fee", amount=draw(prices(grid)), discount_percent=percent)


_MONTHS = (Period(2027, 2), Period(2028, 2), Period(2026, 9), Period(2026, 10))
_COVERAGES = [
    Coverage(range(first, last), month.days)
    for month in _MONTHS
    for first in range(1, month.days + 1)
    for last in range(first, month.days + 2)
]


def coverages() -> st.SearchStrategy[Coverage]:
    """Make the days of a month that a contract covers: all, some or none."""
    return _ANY_DAYS


_ANY_DAYS = st.sampled_from([Coverage.whole(month) for month in _MONTHS]) | st.sampled_from(
    _COVERAGES
)


@st.composite
def quantities_at(draw: st.DrawFn, charge: Charge, grid: Grid = TENTHS) -> Decimal:
    """Make a quantity: anything, or one at, below or above where a charge's price turns."""
    if draw(_YES_OR_NO):
        return draw(quantities(grid, 0, grid.most))
    turns = [0]
    if not isinstance(charge, FlatCharge | RecurringCharge):
        free = grid.steps(charge.free_units)
        turns.append(free)
        if isinstance(charge, GraduatedCharge | VolumeCharge):
            turns += [free + grid.steps(t.up_to) for t in charge.tiers if t.up_to is not None]
        if isinstance(charge, PackageCharge):
            turns += [free + grid.steps(charge.package_size) * times for times in (1, 2)]
    turn = turns[draw(_WHICH) % len(turns)] + draw(_BESIDE)
    return grid.quantity(min(max(turn, 0), grid.most))


_WHICH = st.integers(0, 11)
_BESIDE = st.integers(-1, 1)


class Case(NamedTuple):
    """A charge at its list price, what is laid over it, and what it is asked to price."""

    charge: Charge
    schedule: DiscountSchedule | None
    quantity: Decimal
    coverage: Coverage


@st.composite
def cases(draw: st.DrawFn, grid: Grid = TENTHS) -> Case:
    """Make a question to the price function, of any charge and any combination."""
    charge: Charge = draw(fees(grid) if draw(_SHARES) == 0 else metered_charges(grid))
    schedule = draw(schedules(grid, charge.code)) if draw(_YES_OR_NO) else None
    if schedule is not None and misfit([charge], schedule):
        schedule = None
    return Case(charge, schedule, draw(quantities_at(charge, grid)), draw(coverages()))


_SHARES = st.integers(0, 4)
