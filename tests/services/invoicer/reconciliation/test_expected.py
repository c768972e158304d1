"""What a month must come to by the plan, reckoned apart from the rater, and equal to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.reconciliation.expected import metered_amount, recurring_amount
from services.rater.pricing import RecurringCharge, price_quantity, price_recurring, total
from services.rater.pricing.discounts import discounted
from shared.periods import Period
from tests.services.rater.test_difference import QUANTITIES, charges
from tests.services.rater.test_discounts import schedules

OCTOBER = Period(2026, 10)
UNIT = {"code": "executions", "model": "unit", "meter": "executions", "unit_price": "0.002"}
VOLUME = {
    "charge": "executions",
    "tiers": [
        {"up_to": "50000", "percent_off": "0"},
        {"up_to": "250000", "percent_off": "10"},
        {"up_to": None, "percent_off": "30"},
    ],
}
TIERED = {
    "code": "executions",
    "model": "graduated",
    "meter": "executions",
    "tiers": [
        {"up_to": "10", "unit_price": "1", "flat_fee": "5"},
        {"up_to": None, "unit_price": "0.5", "flat_fee": "3"},
    ],
}


@pytest.mark.parametrize(
    ("charge", "schedule", "quantity", "amount"),
    [
        (UNIT, None, "100000", "200"),
        (UNIT, None, "0", "0"),
        (UNIT, VOLUME, "50000", "100"),
        (UNIT, VOLUME, "50001", "100.0018"),
        (UNIT, VOLUME, "300000", "530"),
        (UNIT, {**VOLUME, "charge": "other"}, "300000", "600"),
        (TIERED, None, "0", "5"),
        (TIERED, None, "10", "15"),
        (TIERED, None, "10.5", "18.25"),
    ],
)
def test_metered_amounts(
    charge: dict[str, Any], schedule: dict[str, Any] | None, quantity: str, amount: str
) -> None:
    assert metered_amount(charge, schedule, Decimal(quantity)) == Decimal(amount)


def test_a_shape_that_is_not_known_is_not_guessed() -> None:
    assert metered_amount({**UNIT, "model": "package"}, None, Decimal(5)) is None


@pytest.mark.parametrize(
    ("starts", "ends", "amount"),
    [
        (datetime(2026, 9, 1, tzinfo=UTC), None, "19"),
        (datetime(2026, 10, 16, tzinfo=UTC), None, "9.806451612903"),
        (datetime(2026, 10, 16, 23, 59, tzinfo=UTC), None, "9.806451612903"),
        (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 16, tzinfo=UTC), "9.193548387097"),
        (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 1, 5, tzinfo=UTC), "0"),
        (datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), "0.612903225806"),
    ],
)
def test_recurring_amounts(starts: datetime, ends: datetime | None, amount: str) -> None:
    assert recurring_amount("19", OCTOBER, starts, ends) == Decimal(amount)


def _as_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


@given(charges(), st.none() | schedules(), QUANTITIES)
def test_it_agrees_with_the_rater_on_every_price(
    charge: Any, schedule: Any, quantity: Decimal
) -> None:
    priced = total(price_quantity(discounted(charge, schedule), quantity))  # type: ignore[arg-type]
    assert metered_amount(_as_json(charge), _as_json(schedule), quantity) == priced


@given(
    st.decimals(0, 1000, places=4),
    st.integers(-40 * 24, 70 * 24),
    st.none() | st.integers(1, 60 * 24),
)
def test_it_agrees_with_the_rater_on_every_fee(
    amount: Decimal, begin: int, hours: int | None
) -> None:
    starts = OCTOBER.start + timedelta(hours=begin)
    ends = None if hours is None else starts + timedelta(hours=hours)
    charge = RecurringCharge("fee", amount)
    priced = total(price_recurring(charge, OCTOBER, starts, ends))
    assert recurring_amount(amount, OCTOBER, starts, ends) == priced
