"""I4 in the small: whatever the steps, the differences add up to f(total), band by band."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import Band, Charge, Coverage, difference, price, total
from services.rater.pricing.discounts import discounted
from tests.services.rater.strategies import (
    FINE,
    TENTHS,
    THOROUGH,
    Grid,
    cases,
    coverages,
    quantities_at,
)


@st.composite
def charges(draw: st.DrawFn, grid: Grid = TENTHS) -> Charge:
    """Make any charge, with or without a discount schedule."""
    case = draw(cases(grid))
    return discounted(case.charge, case.schedule)


def gathered(bands: Iterable[Band]) -> dict[tuple[str, Fraction], tuple[Fraction, Fraction]]:
    """Add up quantities and amounts by band and price; what comes to nothing is left out."""
    sums: dict[tuple[str, Fraction], tuple[Fraction, Fraction]] = {}
    for band in bands:
        key = (band.label, Fraction(band.unit_price))
        quantity, amount = sums.get(key, (Fraction(0), Fraction(0)))
        sums[key] = (quantity + Fraction(band.quantity), amount + Fraction(band.amount))
    return {key: value for key, value in sums.items() if any(value)}


@THOROUGH
@given(st.sampled_from([TENTHS, FINE]), coverages(), st.data())
def test_the_steps_on_any_way_add_up_to_where_it_ends(
    grid: Grid, coverage: Coverage, data: st.DataObject
) -> None:
    charge = data.draw(charges(grid))
    way = data.draw(st.lists(quantities_at(charge, grid), min_size=1, max_size=5))
    posted: list[Band] = []
    before: list[Band] = []
    for quantity in way:
        after = price(charge, quantity, coverage)
        posted.extend(difference(after, before))
        before = after
        assert gathered(posted) == gathered(after)
    assert total(posted) == total(price(charge, way[-1], coverage))


@given(charges(), coverages(), st.data())
def test_what_does_not_change_is_not_posted(
    charge: Charge, coverage: Coverage, data: st.DataObject
) -> None:
    bands = price(charge, data.draw(quantities_at(charge)), coverage)
    assert difference(bands, bands) == []


@given(charges(), charges(), coverages(), coverages(), st.data())
def test_a_change_of_price_or_of_days_takes_the_old_bands_back(
    old: Charge, new: Charge, then: Coverage, now: Coverage, data: st.DataObject
) -> None:
    quantity = data.draw(quantities_at(new))
    was, is_now = price(old, quantity, then), price(new, quantity, now)
    assert gathered([*was, *difference(is_now, was)]) == gathered(is_now)


def test_a_band_is_the_same_however_its_price_is_written() -> None:
    was = [Band("all", Decimal(5), Decimal("0.20"), Decimal("1.0"))]
    is_now = [Band("all", Decimal(7), Decimal("0.2"), Decimal("1.4"))]
    assert difference(is_now, was) == [Band("all", Decimal(2), Decimal("0.2"), Decimal("0.4"))]
