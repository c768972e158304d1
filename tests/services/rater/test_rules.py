"""Which contract holds at a moment, and onto which invoice usage goes."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.pricing import Coverage, GraduatedCharge, RecurringCharge, Tier
from services.rater.rules import Rules, know_customers
from services.rater.terms import PostingState, agreed_charges
from shared.database import Connection
from shared.periods import Period
from tests.services.rater.factories import contract, rules_of, schedule, unit_charge

START = datetime(2026, 10, 1, tzinfo=UTC)
SWITCH = datetime(2026, 10, 16, 13, 30, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
RULES = rules_of(
    [
        contract(contract_id="first", starts_at=START, ends_at=SWITCH),
        contract(contract_id="second", starts_at=SWITCH, ends_at=END),
        contract(contract_id="others", customer_id="customer-2", starts_at=START),
    ]
)


def contract_at(moment: datetime, customer_id: str = "customer-1") -> str | None:
    found = RULES.contract_at(customer_id, moment)
    return None if found is None else found.id


def test_a_contract_holds_from_its_first_instant_to_before_its_end() -> None:
    assert contract_at(START - INSTANT) is None
    assert contract_at(START) == "first"
    assert contract_at(SWITCH - INSTANT) == "first"
    assert contract_at(SWITCH) == "second"
    assert contract_at(END - INSTANT) == "second"
    assert contract_at(END) is None


def test_a_contract_without_an_end_goes_on() -> None:
    assert contract_at(END + timedelta(days=3650), "customer-2") == "others"


def test_a_customer_who_is_not_known_has_no_contract() -> None:
    assert contract_at(SWITCH, "customer-3") is None


def test_a_discount_is_laid_over_metered_charges_alone() -> None:
    fee = RecurringCharge(code="subscription", amount=Decimal(19))
    made = contract(fee, unit_charge(), discount=schedule((None, "10")))
    assert made.charges == (fee, *made.metered)
    (charge,) = made.metered
    assert isinstance(charge, GraduatedCharge)
    assert charge.tiers[0].unit_price == Decimal("0.0018")


def test_an_override_stands_in_its_charges_place_and_is_discounted_as_that_would_be() -> None:
    fee = RecurringCharge(code="subscription", amount=Decimal(19))
    dearer = GraduatedCharge(
        code="executions", meter="executions", tiers=[Tier(None, Decimal(2), Decimal(1))]
    )
    priced = agreed_charges([unit_charge(), fee], [dearer], schedule((None, "50")))
    assert [charge.code for charge in priced] == ["executions", "subscription"]
    assert priced[1] is fee
    assert isinstance(priced[0], GraduatedCharge)
    assert priced[0].tiers == [Tier(None, Decimal(1), Decimal(1))]


def test_an_override_of_a_charge_that_the_plan_has_not_adds_none() -> None:
    plan = [unit_charge()]
    assert agreed_charges(plan, [unit_charge(code="seats")], None) == tuple(plan)


def test_a_contract_covers_the_days_of_the_months_that_it_touches() -> None:
    made = contract(starts_at=SWITCH, ends_at=END)
    assert made.coverage(Period(2026, 9)) is None
    assert made.coverage(Period(2026, 10)) == Coverage(range(16, 32), 31)
    assert made.coverage(Period(2026, 11)) == Coverage(range(1, 31), 30)
    assert made.coverage(Period(2026, 12)) is None
    # A month of which it has hours and no day's last instant is touched all the same.
    hours = contract(starts_at=SWITCH, ends_at=SWITCH + timedelta(hours=1))
    assert hours.coverage(Period(2026, 10)) == Coverage(range(16, 16), 31)


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_usage_goes_to_its_own_month_or_the_first_after_all_that_are_closed(
    closed: set[int], used_in: int
) -> None:
    months = [Period(2026 + index // 12, index % 12 + 1) for index in range(40)]
    state = PostingState(1, frozenset(str(months[index]) for index in closed))
    expected = next(
        month
        for index, month in enumerate(months)
        if index >= used_in and all(one < index for one in closed)
    )
    assert state.posting_period(str(months[used_in])) == str(expected)


def test_a_customer_who_could_not_be_looked_up_is_looked_up_again() -> None:
    """Postgres going away must not make a customer one without contracts."""
    answers: Iterator[object] = iter([ConnectionResetError(), []])

    class Losing:
        async def fetch(self, query: str, *arguments: object) -> object:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    rules = Rules()
    connection = cast("Connection", Losing())
    with pytest.raises(ConnectionResetError):
        asyncio.run(know_customers(connection, rules, ["customer-1"]))
    assert rules.by_customer == {}
    asyncio.run(know_customers(connection, rules, ["customer-1"]))
    assert rules.by_customer == {"customer-1": []}
    asyncio.run(know_customers(connection, rules, ["customer-1"]))
