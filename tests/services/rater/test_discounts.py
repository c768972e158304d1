"""A contract's discount schedule, laid over a price, unit by unit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import (
    GraduatedCharge,
    RecurringCharge,
    Tier,
    UnitCharge,
    price_quantity,
    total,
)
from services.rater.pricing.discounts import DiscountSchedule, DiscountTier, discounted
from tests.services.rater.factories import graduated_charge, schedule, unit_charge
from tests.services.rater.test_prices import PRICES, TENTHS, tier_of, tiers

PERCENTS = st.decimals(0, 100, places=3)
VOLUME = schedule(("50000", "0"), ("250000", "10"), ("1000000", "20"), (None, "30"))


@st.composite
def schedules(draw: st.DrawFn) -> DiscountSchedule:
    bounds = sorted(draw(st.sets(st.integers(1, 300), max_size=4)))
    discount_tiers = [
        DiscountTier(None if bound is None else Decimal(bound) / 10, draw(PERCENTS))
        for bound in (*bounds, None)
    ]
    return DiscountSchedule("executions", discount_tiers)


def added_up(tenths: int, prices: list[Tier], percents: list[DiscountTier]) -> Fraction:
    """Price and discount tenth by tenth; flat fees are not discounted."""
    as_tiers = [Tier(tier.up_to, tier.percent_off) for tier in percents]
    reached = {0} | {tier_of(tenth, prices) for tenth in range(1, tenths + 1)}
    amount = sum((Fraction(prices[one].flat_fee) for one in reached), Fraction(0))
    for tenth in range(1, tenths + 1):
        price = Fraction(prices[tier_of(tenth, prices)].unit_price) / 10
        percent = Fraction(as_tiers[tier_of(tenth, as_tiers)].unit_price)
        amount += price - price * percent / 100
    return amount


@given(PRICES, schedules(), TENTHS)
def test_a_discount_on_one_price(price: Decimal, by: DiscountSchedule, tenths: int) -> None:
    charge = discounted(UnitCharge("executions", "executions", price), by)
    assert isinstance(charge, GraduatedCharge)
    amount = total(price_quantity(charge, Decimal(tenths) / 10))
    assert Fraction(amount) == added_up(tenths, [Tier(None, price)], by.tiers)


@given(tiers(), schedules(), TENTHS)
def test_a_discount_on_graduated_prices(
    prices: list[Tier], by: DiscountSchedule, tenths: int
) -> None:
    charge = discounted(GraduatedCharge("executions", "executions", prices), by)
    assert isinstance(charge, GraduatedCharge)
    amount = total(price_quantity(charge, Decimal(tenths) / 10))
    assert Fraction(amount) == added_up(tenths, prices, by.tiers)


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("50000", "100"),
        ("50001", "100.0018"),
        ("100000", "190"),
        ("250000", "460"),
        ("1000000", "1660"),
        ("1000001", "1660.0014"),
        ("2000000", "3060"),
    ],
)
def test_the_volume_schedule_on_byok(quantity: str, amount: str) -> None:
    charge = discounted(unit_charge("0.002"), VOLUME)
    assert isinstance(charge, GraduatedCharge)
    assert total(price_quantity(charge, Decimal(quantity))) == Decimal(amount)


def test_tiers_are_cut_at_the_bounds_of_both() -> None:
    prices = graduated_charge(("10", "4", "1"), (None, "2", "3"), code="executions")
    charge = discounted(prices, schedule(("5", "0"), (None, "50")))
    assert isinstance(charge, GraduatedCharge)
    assert charge.tiers == [
        Tier(Decimal(5), Decimal(4), Decimal(1)),
        Tier(Decimal(10), Decimal(2)),
        Tier(None, Decimal(1), Decimal(3)),
    ]


def test_a_schedule_is_for_its_own_charge_alone() -> None:
    other = unit_charge(code="seats")
    fee = RecurringCharge("executions", Decimal(19))
    assert discounted(other, VOLUME) is other
    assert discounted(fee, VOLUME) is fee
    assert discounted(other, None) is other


def test_everything_off_leaves_the_quantity_to_be_seen() -> None:
    charge = discounted(unit_charge(), schedule((None, "100")))
    assert isinstance(charge, GraduatedCharge)
    (band,) = price_quantity(charge, Decimal(7))
    assert (band.quantity, band.amount) == (Decimal(7), Decimal(0))
