"""I4 in the small: whatever the steps, the differences add up to f(total), band by band."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import (
    Band,
    GraduatedCharge,
    MeteredCharge,
    difference,
    price_quantity,
    total,
)
from services.rater.pricing.discounts import DiscountSchedule, discounted
from tests.services.rater.factories import unit_charge
from tests.services.rater.test_discounts import schedules
from tests.services.rater.test_prices import PRICES, tiers

QUANTITIES = st.decimals(0, 100, places=3)


@st.composite
def charges(draw: st.DrawFn) -> MeteredCharge:
    """Make any metered charge, with or without a discount."""
    price: MeteredCharge = unit_charge(str(draw(PRICES)))
    if draw(st.booleans()):
        price = GraduatedCharge("executions", "executions", draw(tiers()))
    by: DiscountSchedule | None = draw(st.none() | schedules())
    charge = discounted(price, by)
    assert isinstance(charge, type(price) | GraduatedCharge)
    return charge


def gathered(bands: Iterable[Band]) -> dict[tuple[str, Fraction], tuple[Fraction, Fraction]]:
    """Add up quantities and amounts by band and price; what comes to nothing is left out."""
    sums: dict[tuple[str, Fraction], tuple[Fraction, Fraction]] = {}
    for band in bands:
        key = (band.label, Fraction(band.unit_price))
        quantity, amount = sums.get(key, (Fraction(0), Fraction(0)))
        sums[key] = (quantity + Fraction(band.quantity), amount + Fraction(band.amount))
    return {key: value for key, value in sums.items() if any(value)}


@given(charges(), st.lists(QUANTITIES, min_size=1, max_size=6))
def test_the_steps_on_any_way_add_up_to_where_it_ends(
    charge: MeteredCharge, way: list[Decimal]
) -> None:
    posted: list[Band] = []
    before: list[Band] = []
    for quantity in way:
        after = price_quantity(charge, quantity)
        posted.extend(difference(after, before))
        before = after
        assert gathered(posted) == gathered(after)
    assert total(posted) == total(price_quantity(charge, way[-1]))


@given(charges(), QUANTITIES)
def test_what_does_not_change_is_not_posted(charge: MeteredCharge, quantity: Decimal) -> None:
    bands = price_quantity(charge, quantity)
    assert difference(bands, bands) == []


@given(charges(), charges(), QUANTITIES)
def test_a_change_of_price_takes_the_old_bands_back(
    old: MeteredCharge, new: MeteredCharge, quantity: Decimal
) -> None:
    was, is_now = price_quantity(old, quantity), price_quantity(new, quantity)
    assert gathered([*was, *difference(is_now, was)]) == gathered(is_now)


def test_a_band_is_the_same_however_its_price_is_written() -> None:
    was = [Band("all", Decimal(5), Decimal("0.20"), Decimal("1.0"))]
    is_now = [Band("all", Decimal(7), Decimal("0.2"), Decimal("1.4"))]
    assert difference(is_now, was) == [Band("all", Decimal(2), Decimal("0.2"), Decimal("0.4"))]
