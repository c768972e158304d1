"""What a quantity costs, in every shape and combination, against sums made in another way."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import (
    Band,
    Coverage,
    FlatCharge,
    GraduatedCharge,
    PackageCharge,
    RecurringCharge,
    VolumeCharge,
    price,
    total,
)
from services.rater.pricing.discounts import discounted
from shared.periods import Period
from tests.services.rater.factories import (
    WHOLE,
    graduated_charge,
    package_charge,
    unit_charge,
    volume_charge,
)
from tests.services.rater.oracles import Bands, at_once, by_tenths
from tests.services.rater.strategies import FINE, TENTHS, THOROUGH, Case, cases


def priced(case: Case) -> list[Band]:
    return price(discounted(case.charge, case.schedule), case.quantity, case.coverage)


def by_label(bands: list[Band]) -> Bands:
    """Give bands as the oracle does; each label stands once."""
    found = {band.label: (Fraction(band.quantity), Fraction(band.amount)) for band in bands}
    assert len(found) == len(bands)
    return found


@THOROUGH
@given(cases(TENTHS))
def test_every_band_is_what_its_tenths_of_a_unit_cost(case: Case) -> None:
    expected = by_tenths(*case)
    assert by_label(priced(case)) == expected
    assert sum(amount for _, amount in expected.values()) == at_once(*case)


@THOROUGH
@given(cases(FINE))
def test_no_digit_is_lost_up_to_a_million_millions_and_at_twelve_places(case: Case) -> None:
    bands = priced(case)
    assert Fraction(total(bands)) == at_once(*case)
    of_units = [band for band in bands if band.quantity]
    assert all(
        Fraction(band.amount) == Fraction(band.quantity) * Fraction(band.unit_price)
        for band in of_units
    )
    if not isinstance(case.charge, FlatCharge | RecurringCharge | PackageCharge):
        units = [band for band in of_units if not band.label.endswith("flat fee")]
        assert sum(Fraction(band.quantity) for band in units) == Fraction(case.quantity)


def test_no_unit_has_no_band() -> None:
    assert price(unit_charge(), Decimal(0), WHOLE) == []
    assert price(package_charge("100", "5"), Decimal(0), WHOLE) == []


def labels(charge: GraduatedCharge | VolumeCharge, quantity: str) -> list[str]:
    return [band.label for band in price(charge, Decimal(quantity), WHOLE)]


THREE_TIERS = (("5", "2", "10"), ("10", "1", "20"), (None, "0.5", "30"))


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        ("0", "10", "10"),
        ("0.001", "10.002", "10.002"),
        ("5", "20", "20"),
        ("5.001", "40.001", "25.001"),
        ("10", "45", "30"),
        ("10.001", "75.0005", "35.0005"),
        ("12", "76", "36"),
    ],
)
def test_bounds_are_inclusive_and_any_part_beyond_is_in_the_next_tier(
    quantity: str, graduated: str, volume: str
) -> None:
    of = Decimal(quantity)
    assert total(price(graduated_charge(*THREE_TIERS), of, WHOLE)) == Decimal(graduated)
    assert total(price(volume_charge(*THREE_TIERS), of, WHOLE)) == Decimal(volume)


def test_bands_are_named_by_their_bounds() -> None:
    tiered = graduated_charge(*THREE_TIERS)
    assert labels(tiered, "0") == ["0 to 5 flat fee"]
    assert labels(tiered, "5") == ["0 to 5", "0 to 5 flat fee"]
    assert labels(tiered, "5.001")[2:] == ["5 to 10", "5 to 10 flat fee"]
    assert labels(tiered, "11")[4:] == ["over 10", "over 10 flat fee"]
    assert labels(graduated_charge((None, "1", "0")), "3") == ["over 0"]
    volume = volume_charge(*THREE_TIERS)
    assert labels(volume, "0") == ["0 to 5 flat fee"]
    assert labels(volume, "5.001") == ["5 to 10", "5 to 10 flat fee"]
    assert labels(volume, "11") == ["over 10", "over 10 flat fee"]


def test_no_digit_is_lost_in_large_sums() -> None:
    charge = graduated_charge(
        ("999999999999.999999999999", "0.000000000001", "0"), (None, "1", "0")
    )
    quantity = Decimal("1000000000000.000000000001")
    exact = Fraction("999999999999.999999999999") / 10**12 + Fraction("0.000000000002")
    assert Fraction(total(price(charge, quantity, WHOLE))) == exact


def test_a_fee_that_is_flat_is_due_in_full_for_a_single_day_and_not_for_none() -> None:
    fee = FlatCharge(code="fee", amount=Decimal(31))
    assert total(price(fee, Decimal(0), Coverage(range(31, 32), 31))) == 31
    assert price(fee, Decimal(0), Coverage(range(31, 31), 31)) == []


@given(st.decimals(0, 10_000, places=2), st.data())
def test_a_recurring_fee_is_shared_by_the_days_covered(fee: Decimal, data: st.DataObject) -> None:
    period = data.draw(st.sampled_from([Period(2026, 2), Period(2028, 2), Period(2026, 10)]))
    start = period.start + timedelta(hours=data.draw(st.integers(-50, 31 * 24)))
    end = start + timedelta(hours=data.draw(st.integers(1, 40 * 24)))
    ends = [period.start + timedelta(days=day + 1, microseconds=-1) for day in range(period.days)]
    days = [day for day, last in enumerate(ends, 1) if start <= last < end]

    coverage = Coverage.of(period, start, end)
    bands = price(RecurringCharge(code="fee", amount=fee), Decimal(0), coverage)

    assert list(coverage.days) == days
    if not days:
        assert bands == []
        return
    (band,) = bands
    assert band.quantity == 1
    assert band.amount == band.unit_price
    exact = Fraction(fee) * len(days) / period.days
    assert abs(Fraction(band.amount) - exact) <= Fraction(1, 2 * 10**12)


@pytest.mark.parametrize(
    "month", [Period(2027, 2), Period(2028, 2), Period(2026, 9), Period(2026, 10)]
)
@given(moments=st.lists(st.floats(0, 1, exclude_max=True), max_size=4))
def test_contracts_one_after_another_share_out_every_day_of_a_month(
    month: Period, moments: list[float]
) -> None:
    """Whatever the instants of the switches, each day is one contract's."""
    length = month.end - month.start
    edges = [month.start, *sorted(month.start + length * moment for moment in moments), month.end]
    shared = [list(Coverage.of(month, start, end).days) for start, end in pairwise(edges)]
    assert list(chain.from_iterable(shared)) == list(range(1, month.days + 1))


INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "month", [Period(2027, 2), Period(2028, 2), Period(2026, 9), Period(2026, 10)]
)
def test_a_switch_on_the_first_and_on_the_last_instant_of_a_month(month: Period) -> None:
    long_ago = month.start - timedelta(days=400)
    last_instant = month.end - INSTANT
    assert not Coverage.of(month, long_ago, month.start).days
    assert Coverage.of(month, month.start, None) == Coverage.whole(month)
    # A day is the contract's that is in force at its last instant.
    assert not Coverage.of(month, long_ago, month.start + INSTANT).days
    assert Coverage.of(month, long_ago, last_instant).days == range(1, month.days)
    assert Coverage.of(month, last_instant, None).days == range(month.days, month.days + 1)
    assert Coverage.of(month, long_ago, month.end) == Coverage.whole(month)


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
    charge = RecurringCharge(code="subscription", amount=Decimal("19.00"))
    coverage = Coverage.of(Period(2026, 10), _utc(start), None if end is None else _utc(end))
    (band,) = price(charge, Decimal(0), coverage)
    assert (band.label, band.amount) == (label, Decimal(amount))


def _utc(date: str) -> datetime:
    return datetime.fromisoformat(date).replace(tzinfo=UTC)
