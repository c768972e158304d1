"""What a month must come to by its terms, reckoned apart from the rater, and equal to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.invoicer.reconciliation.expected import (
    agreed_charges,
    counts_units,
    covered_share,
    expected_amount,
)
from services.rater import terms as rater_terms
from services.rater.pricing import Charge, Coverage, price, total
from services.rater.pricing.discounts import DiscountSchedule, discounted
from shared.periods import Period
from tests.services.invoicer.reconciliation.terms import QUANTITIES, charges, schedules

OCTOBER = Period(2026, 10)
WHOLE = Fraction(1)
HALF = Fraction(15, 30)
UNIT = {"code": "executions", "model": "unit", "meter": "executions", "unit_price": "0.002"}
BY_UNIT = {
    "charge": "executions",
    "tiers": [
        {"up_to": "50000", "percent_off": "0"},
        {"up_to": "250000", "percent_off": "10"},
        {"up_to": None, "percent_off": "30"},
    ],
}
BY_ALL = {**BY_UNIT, "mode": "volume"}
TIERS = [
    {"up_to": "10", "unit_price": "1", "flat_fee": "5"},
    {"up_to": None, "unit_price": "0.5", "flat_fee": "3"},
]
GRADUATED = {**UNIT, "model": "graduated", "tiers": TIERS}
VOLUME = {**UNIT, "model": "volume", "tiers": TIERS}
PACKAGE = {**UNIT, "model": "package", "package_size": "1000", "package_price": "5"}
FLAT = {"code": "seat", "model": "flat", "amount": "50"}
RECURRING = {"code": "fee", "model": "recurring", "amount": "19"}
LEAST = {**UNIT, "minimum_spend": "10"}
MOST = {**UNIT, "maximum_spend": "10"}


@pytest.mark.parametrize(
    ("charge", "schedule", "quantity", "amount"),
    [
        (UNIT, None, "100000", "200"),
        (UNIT, None, "0", "0"),
        (UNIT, BY_UNIT, "50000", "100"),
        (UNIT, BY_UNIT, "50001", "100.0018"),
        (UNIT, BY_UNIT, "300000", "530"),
        (UNIT, {**BY_UNIT, "mode": "graduated"}, "300000", "530"),
        (UNIT, {**BY_UNIT, "charge": "other"}, "300000", "600"),
        (UNIT, BY_ALL, "50000", "100"),
        (UNIT, BY_ALL, "50001", "90.0018"),
        (UNIT, BY_ALL, "300000", "420"),
        (GRADUATED, None, "0", "5"),
        (GRADUATED, None, "10", "15"),
        (GRADUATED, None, "10.5", "18.25"),
        (GRADUATED, BY_ALL, "300000", "150013"),
        (VOLUME, None, "0", "5"),
        (VOLUME, None, "10", "15"),
        (VOLUME, None, "10.5", "8.25"),
        (VOLUME, BY_ALL, "100000", "45003"),
        (VOLUME, BY_UNIT, "100000", "50003"),
        (PACKAGE, None, "0", "0"),
        (PACKAGE, None, "0.5", "5"),
        (PACKAGE, None, "1000", "5"),
        (PACKAGE, None, "1000.000000000001", "10"),
        (PACKAGE, BY_UNIT, "1000000", "5000"),
        ({**UNIT, "free_units": "1000"}, None, "999", "0"),
        ({**UNIT, "free_units": "1000"}, None, "1001", "0.002"),
        ({**UNIT, "free_units": "1000"}, BY_UNIT, "51001", "100.0018"),
        ({**VOLUME, "free_units": "5"}, None, "15", "15"),
        ({**PACKAGE, "free_units": "500"}, None, "1500", "5"),
        ({**GRADUATED, "discount_percent": "10"}, None, "0", "4.5"),
        ({**UNIT, "discount_percent": "100"}, None, "5", "0"),
        (LEAST, None, "0", "10"),
        (LEAST, None, "6000", "12"),
        (MOST, None, "4000", "8"),
        (MOST, None, "6000", "10"),
        ({**LEAST, "discount_percent": "50"}, None, "6000", "10"),
        ({**MOST, "discount_percent": "50"}, None, "6000", "6"),
        ({**UNIT, "minimum_spend": None, "maximum_spend": None}, None, "6000", "12"),
        ({**MOST, "maximum_spend": "0"}, None, "6000", "0"),
        ({**MOST, "maximum_spend": 0}, None, "6000", "0"),
        (FLAT, None, "0", "50"),
        ({**RECURRING, "discount_percent": "10"}, None, "0", "17.1"),
        ({**FLAT, "discount_percent": "10"}, None, "0", "45"),
    ],
)
def test_a_whole_month(
    charge: dict[str, Any], schedule: dict[str, Any] | None, quantity: str, amount: str
) -> None:
    assert expected_amount(charge, schedule, Decimal(quantity), WHOLE) == Decimal(amount)


@pytest.mark.parametrize(
    ("charge", "share", "amount"),
    [
        (RECURRING, HALF, "9.5"),
        (RECURRING, Fraction(16, 31), "9.806451612903"),
        (RECURRING, Fraction(0), "0"),
        ({**RECURRING, "discount_percent": "50"}, Fraction(16, 31), "4.9032258064515"),
        (FLAT, Fraction(1, 31), "50"),
        (FLAT, Fraction(0), "0"),
        (LEAST, HALF, "5"),
        (LEAST, Fraction(1, 31), "2"),
        (LEAST, Fraction(0), "2"),
        (MOST, HALF, "2"),
        ({**MOST, "maximum_spend": "1"}, HALF, "1"),
    ],
)
def test_a_part_of_a_month(charge: dict[str, Any], share: Fraction, amount: str) -> None:
    """A fee and a minimum are prorated; a flat fee, a price and a maximum are not."""
    assert expected_amount(charge, None, Decimal(1000), share) == Decimal(amount)


def test_a_model_that_is_not_known_is_not_guessed() -> None:
    assert expected_amount({**UNIT, "model": "auction"}, None, Decimal(5), WHOLE) is None


def test_only_usage_that_is_priced_by_the_unit_is_counted_alike() -> None:
    models: list[dict[str, Any]] = [UNIT, GRADUATED, VOLUME, PACKAGE, FLAT, RECURRING]
    assert [counts_units(one) for one in models] == [True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("starts", "ends", "days"),
    [
        (datetime(2026, 9, 1, tzinfo=UTC), None, 31),
        (datetime(2026, 10, 16, tzinfo=UTC), None, 16),
        (datetime(2026, 10, 16, 23, 59, tzinfo=UTC), None, 16),
        (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 16, tzinfo=UTC), 15),
        (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 1, 5, tzinfo=UTC), 0),
        (datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), 1),
    ],
)
def test_covered_days(starts: datetime, ends: datetime | None, days: int) -> None:
    assert covered_share(OCTOBER, starts, ends) == Fraction(days, 31)


def test_a_contracts_own_charges_stand_in_the_place_of_the_plans() -> None:
    own = {**FLAT, "code": "executions"}
    assert agreed_charges([UNIT, FLAT], [own, {**FLAT, "code": "none"}]) == [own, FLAT]
    assert agreed_charges([UNIT, FLAT], []) == [UNIT, FLAT]


MOMENTS = st.integers(-40 * 24, 70 * 24).map(lambda hours: OCTOBER.start + timedelta(hours=hours))


@settings(max_examples=400)
@given(charges(), st.none() | schedules(), QUANTITIES, MOMENTS, st.none() | MOMENTS)
def test_it_agrees_with_the_rater_on_every_price(
    charge: dict[str, Any],
    schedule: dict[str, Any] | None,
    quantity: str,
    starts: datetime,
    ends: datetime | None,
) -> None:
    agreed: Charge = msgspec.convert(charge, Charge, strict=False)
    by = None if schedule is None else msgspec.convert(schedule, DiscountSchedule, strict=False)
    coverage = Coverage.of(OCTOBER, starts, ends)
    priced = total(price(discounted(agreed, by), Decimal(quantity), coverage))
    share = covered_share(OCTOBER, starts, ends)
    assert expected_amount(charge, schedule, Decimal(quantity), share) == priced
    stored = msgspec.json.decode(msgspec.json.encode(agreed))
    assert expected_amount(stored, schedule, Decimal(quantity), share) == priced


def _as_rated(some: object) -> list[Charge]:
    return msgspec.convert(some, list[Charge], strict=False)


@given(st.lists(charges(), max_size=3), st.lists(charges(), max_size=3), st.data())
def test_it_agrees_with_the_rater_on_overrides(
    plan: list[dict[str, Any]], own: list[dict[str, Any]], data: st.DataObject
) -> None:
    for number, charge in enumerate(plan):
        charge["code"] = f"charge-{number}"
    for charge in own:
        charge["code"] = f"charge-{data.draw(st.integers(0, 3))}"
    as_rated = rater_terms.agreed_charges(_as_rated(plan), _as_rated(own), None)
    assert tuple(_as_rated(agreed_charges(plan, own))) == as_rated
