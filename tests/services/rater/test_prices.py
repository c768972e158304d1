"""What a quantity costs, shape by shape, against sums that are made piece by piece."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import (
    GraduatedCharge,
    RecurringCharge,
    Tier,
    price_quantity,
    price_recurring,
    total,
)
from shared.periods import Period
from tests.services.rater.factories import graduated_charge, unit_charge

PRICES = st.decimals(0, 100, places=6)
TENTHS = st.integers(0, 400)
"""Quantities in tenths of a unit: fractions count."""


@st.composite
def tiers(draw: st.DrawFn) -> list[Tier]:
    """Make tiers whose bounds are whole tenths, so that a sum tenth by tenth meets them."""
    bounds = sorted(draw(st.sets(st.integers(1, 300), max_size=4)))
    flat_fees = st.just(Decimal(0)) | PRICES
    return [
        Tier(None if bound is None else Decimal(bound) / 10, draw(PRICES), draw(flat_fees))
        for bound in (*bounds, None)
    ]


def tier_of(tenth: int, charge_tiers: Sequence[Tier]) -> int:
    """Find the tier of the n-th tenth of a unit: bounds are inclusive."""
    for position, tier in enumerate(charge_tiers):
        if tier.up_to is None or Fraction(tenth, 10) <= Fraction(tier.up_to):
            return position
    raise AssertionError("the last tier has no end")


def added_up(tenths: int, charge_tiers: Sequence[Tier]) -> Fraction:
    """Price tenth by tenth, and each tier's flat fee once, the first one's always."""
    reached = {0} | {tier_of(tenth, charge_tiers) for tenth in range(1, tenths + 1)}
    amount = sum((Fraction(charge_tiers[one].flat_fee) for one in reached), Fraction(0))
    for tenth in range(1, tenths + 1):
        amount += Fraction(charge_tiers[tier_of(tenth, charge_tiers)].unit_price) / 10
    return amount


@given(PRICES, TENTHS)
def test_one_price_for_every_unit(price: Decimal, tenths: int) -> None:
    expected = sum((Fraction(price) / 10 for _ in range(tenths)), Fraction(0))
    bands = price_quantity(unit_charge(str(price)), Decimal(tenths) / 10)
    assert Fraction(total(bands)) == expected
    assert sum(Fraction(band.quantity) for band in bands) == Fraction(tenths, 10)


def test_no_unit_has_no_band() -> None:
    assert price_quantity(unit_charge(), Decimal(0)) == []


@given(tiers(), TENTHS)
def test_graduated_tiers_are_priced_each_on_its_own(charge_tiers: list[Tier], tenths: int) -> None:
    charge = GraduatedCharge("tiered", "executions", charge_tiers)
    bands = price_quantity(charge, Decimal(tenths) / 10)
    assert Fraction(total(bands)) == added_up(tenths, charge_tiers)
    units = [band for band in bands if not band.label.endswith("flat fee")]
    assert sum(Fraction(band.quantity) for band in units) == Fraction(tenths, 10)
    assert len({band.label for band in bands}) == len(bands)
    assert all(band.amount == band.quantity * band.unit_price for band in bands)


def labels(charge: GraduatedCharge, quantity: str) -> list[str]:
    return [band.label for band in price_quantity(charge, Decimal(quantity))]


THREE_TIERS = graduated_charge(("5", "2", "10"), ("10", "1", "20"), (None, "0.5", "30"))


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("0", "10"),
        ("0.001", "10.002"),
        ("5", "20"),
        ("5.001", "40.001"),
        ("10", "45"),
        ("10.001", "75.0005"),
        ("12", "76"),
    ],
)
def test_bounds_are_inclusive_and_any_part_beyond_is_in_the_next_tier(
    quantity: str, amount: str
) -> None:
    assert total(price_quantity(THREE_TIERS, Decimal(quantity))) == Decimal(amount)


def test_bands_are_named_by_their_bounds() -> None:
    assert labels(THREE_TIERS, "0") == ["0 to 5 flat fee"]
    assert labels(THREE_TIERS, "5") == ["0 to 5", "0 to 5 flat fee"]
    assert labels(THREE_TIERS, "5.001")[2:] == ["5 to 10", "5 to 10 flat fee"]
    assert labels(THREE_TIERS, "11")[4:] == ["over 10", "over 10 flat fee"]
    assert labels(graduated_charge((None, "1", "0")), "3") == ["over 0"]


def test_no_digit_is_lost_in_large_sums() -> None:
    charge = graduated_charge(
        ("999999999999.999999999999", "0.000000000001", "0"), (None, "1", "0")
    )
    quantity = Decimal("1000000000000.000000000001")
    exact = Fraction("999999999999.999999999999") / 10**12 + Fraction("0.000000000002")
    assert Fraction(total(price_quantity(charge, quantity))) == exact


@given(st.decimals(0, 10_000, places=2), st.data())
def test_a_recurring_fee_is_shared_by_the_days_covered(fee: Decimal, data: st.DataObject) -> None:
    period = data.draw(st.sampled_from([Period(2026, 2), Period(2028, 2), Period(2026, 10)]))
    start = period.start + timedelta(hours=data.draw(st.integers(-50, 31 * 24)))
    end = start + timedelta(hours=data.draw(st.integers(1, 40 * 24)))
    ends = [period.start + timedelta(days=day + 1, microseconds=-1) for day in range(period.days)]
    days = [day for day, last in enumerate(ends, 1) if start <= last < end]

    bands = price_recurring(RecurringCharge("fee", fee), period, start, end)

    if not days:
        assert bands == []
        return
    (band,) = bands
    assert band.quantity == 1
    assert band.amount == band.unit_price
    assert abs(Fraction(band.amount) - Fraction(fee) * len(days) / period.days) <= Fraction(
        1, 2 * 10**12
    )


@pytest.mark.parametrize(
    ("start", "end", "label", "amount"),
    [
        ("2026-09-01", None, "whole month", "19.00"),
        ("2026-10-01", "2026-11-01", "whole month", "19.00"),
        ("2026-10-16", None, "days 16 to 31 of 31", "9.806451612903"),
        ("2026-09-01", "2026-10-16", "days 1 to 15 of 31", "9.193548387097"),
        ("2026-10-31", None, "days 31 to 31 of 31", "0.612903225806"),
    ],
)
def test_a_recurring_fee_says_which_days_it_is_for(
    start: str, end: str | None, label: str, amount: str
) -> None:
    charge = RecurringCharge("subscription", Decimal("19.00"))
    (band,) = price_recurring(
        charge, Period(2026, 10), _utc(start), None if end is None else _utc(end)
    )
    assert (band.label, band.amount) == (label, Decimal(amount))


def _utc(date: str) -> datetime:
    return datetime.fromisoformat(date).replace(tzinfo=UTC)
