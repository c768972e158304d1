"""A contract's discount schedule, laid over a price, unit by unit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import (
    Charge,
    GraduatedCharge,
    MeteredCharge,
    RecurringCharge,
    Tier,
    VolumeCharge,
    price,
    total,
)
from services.rater.pricing.discounts import DiscountSchedule, discounted, misfit
from tests.services.rater.factories import (
    WHOLE,
    graduated_charge,
    package_charge,
    schedule,
    unit_charge,
    volume_charge,
)
from tests.services.rater.oracles import by_tenths
from tests.services.rater.strategies import (
    THOROUGH,
    Case,
    metered_charges,
    quantities_at,
    schedules,
)
from tests.services.rater.test_prices import by_label, priced

TIERS = (("50000", "0"), ("250000", "10"), ("1000000", "20"), (None, "30"))


@THOROUGH
@given(metered_charges(), schedules(), st.data())
def test_a_schedule_discounts_each_unit_by_its_tier_and_no_flat_fee(
    charge: MeteredCharge, by: DiscountSchedule, data: st.DataObject
) -> None:
    fits = misfit([charge], by) is None
    assert fits or discounted(charge, by) is charge
    case = Case(charge, by if fits else None, data.draw(quantities_at(charge)), WHOLE)
    assert by_label(priced(case)) == by_tenths(*case)


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        ("50000", "100", "100"),
        ("50001", "100.0018", "90.0018"),
        ("100000", "190", "180"),
        ("250000", "460", "450"),
        ("250000.5", "460.0008", "400.0008"),
        ("1000000", "1660", "1600"),
        ("1000001", "1660.0014", "1400.0014"),
        ("2000000", "3060", "2800"),
    ],
)
def test_the_volume_schedule_on_byok(quantity: str, graduated: str, volume: str) -> None:
    byok = unit_charge("0.002")
    each = discounted(byok, schedule(*TIERS))
    assert isinstance(each, GraduatedCharge)
    assert total(price(each, Decimal(quantity), WHOLE)) == Decimal(graduated)
    all_alike = discounted(byok, schedule(*TIERS, mode="volume"))
    assert isinstance(all_alike, VolumeCharge)
    assert total(price(all_alike, Decimal(quantity), WHOLE)) == Decimal(volume)


def test_tiers_are_cut_at_the_bounds_of_both() -> None:
    prices = graduated_charge(("10", "4", "1"), (None, "2", "3"), code="executions")
    charge = discounted(prices, schedule(("5", "0"), (None, "50")))
    assert isinstance(charge, GraduatedCharge)
    assert charge.tiers == [
        Tier(Decimal(5), Decimal(4), Decimal(1)),
        Tier(Decimal(10), Decimal(2)),
        Tier(None, Decimal(1), Decimal(3)),
    ]


def test_a_volume_tier_that_is_cut_has_its_flat_fee_in_each_part() -> None:
    prices = volume_charge(("10", "4", "1"), (None, "2", "3"), code="executions")
    charge = discounted(prices, schedule(("5", "0"), (None, "50"), mode="volume"))
    assert isinstance(charge, VolumeCharge)
    assert charge.tiers == [
        Tier(Decimal(5), Decimal(4), Decimal(1)),
        Tier(Decimal(10), Decimal(2), Decimal(1)),
        Tier(None, Decimal(1), Decimal(3)),
    ]


def test_two_tiers_of_one_price_and_fee_are_two_all_the_same() -> None:
    prices = graduated_charge(("1", "4", "1"), (None, "4", "1"), code="executions")
    charge = discounted(prices, schedule((None, "0")))
    assert total(price(charge, Decimal(2), WHOLE)) == Decimal(10)


def test_a_schedule_is_for_its_own_charge_alone() -> None:
    volume = schedule(*TIERS)
    other = unit_charge(code="seats")
    fee = RecurringCharge(code="executions", amount=Decimal(19))
    assert discounted(other, volume) is other
    assert discounted(fee, volume) is fee
    assert discounted(other, None) is other


@pytest.mark.parametrize(
    ("charge", "by", "told"),
    [
        (unit_charge(), schedule((None, "1")), None),
        (unit_charge(), schedule((None, "1"), mode="volume"), None),
        (graduated_charge((None, "1", "0"), code="executions"), schedule((None, "1")), None),
        (
            volume_charge((None, "1", "0"), code="executions"),
            schedule((None, "1")),
            "it is graduated, and charge executions is of model volume",
        ),
        (
            graduated_charge((None, "1", "0"), code="executions"),
            schedule((None, "1"), mode="volume"),
            "it is volume, and charge executions is of model graduated",
        ),
        (
            package_charge("10", "1", code="executions"),
            schedule((None, "1")),
            "it is graduated, and charge executions is of model package",
        ),
        (
            unit_charge(code="seats"),
            schedule((None, "1")),
            "there is no metered charge executions",
        ),
    ],
)
def test_why_a_schedule_does_not_fit(
    charge: Charge, by: DiscountSchedule, told: str | None
) -> None:
    fee = RecurringCharge(code="executions-fee", amount=Decimal(19))
    assert misfit([fee, charge], by) == told


def test_everything_off_leaves_the_quantity_to_be_seen() -> None:
    charge = discounted(unit_charge(), schedule((None, "100")))
    (band,) = price(charge, Decimal(7), WHOLE)
    assert (band.quantity, band.amount) == (Decimal(7), Decimal(0))
