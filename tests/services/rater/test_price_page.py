"""The price page's numbers come out of the catalogue that ships with the project."""

from decimal import Decimal
from fractions import Fraction

import pytest

from services.rater.catalogue.document import Plan
from services.rater.pricing import (
    Band,
    RecurringCharge,
    UnitCharge,
    price_quantity,
    price_recurring,
)
from services.rater.pricing.discounts import DiscountSchedule, discounted
from shared.money import round_to_minor
from shared.periods import Period
from tests import pricing_facts as page
from tests.services.rater.factories import STARTS, shipped_catalogue

CATALOGUE = shipped_catalogue()
PERIOD = Period(2026, 10)


def invoice_cents(plan: Plan, executions: int, discount: DiscountSchedule | None = None) -> int:
    """Give what a whole month under a plan comes to, each band rounded once."""
    bands: list[Band] = []
    for charge in plan.charges:
        terms = discounted(charge, discount)
        if isinstance(terms, RecurringCharge):
            bands.extend(price_recurring(terms, PERIOD, STARTS, None))
        else:
            bands.extend(price_quantity(terms, Decimal(executions)))
    return sum(round_to_minor(band.amount, plan.currency) for band in bands)


def token_cents(model: str, executions: int) -> Fraction:
    (price,) = CATALOGUE.models[model]
    millionth = Fraction(executions, 1_000_000)
    dollars = page.INPUT_TOKENS * millionth * Fraction(
        price.input_per_million
    ) + page.OUTPUT_TOKENS * millionth * Fraction(price.output_per_million)
    return dollars * 100


@pytest.mark.parametrize("fact", page.FACTS, ids=lambda fact: f"{fact.plan}-{fact.executions}")
def test_every_plan_at_every_scenario(fact: page.Fact) -> None:
    plan = CATALOGUE.plans[fact.plan]
    assert plan.currency == page.CURRENCY
    assert invoice_cents(plan, fact.executions) == fact.amount_due_cents
    assert token_cents(page.MODEL, fact.executions) == fact.token_cost_cents
    tokens = fact.token_cost_cents if plan.tokens == "paid_by_customer" else 0
    assert fact.amount_due_cents + tokens == fact.total_cents
    assert (plan.tokens == "paid_by_customer") == (fact.plan in page.TOKENS_PAID_BY_CUSTOMER)


def test_the_catalogue_has_the_pages_plans_and_no_other() -> None:
    assert set(CATALOGUE.plans) == set(page.PLANS)


def test_byok_pros_fee_is_due_without_usage_too() -> None:
    assert invoice_cents(CATALOGUE.plans["byok_pro"], 0) == page.BYOK_PRO_FEE_CENTS
    assert all(
        invoice_cents(CATALOGUE.plans[plan], 0) == 0 for plan in {*page.PLANS} - {"byok_pro"}
    )


def test_byok_under_the_volume_discount() -> None:
    shipped = CATALOGUE.discount_schedules[page.DISCOUNT]
    schedule = DiscountSchedule(shipped.charge, shipped.tiers)
    byok = CATALOGUE.plans["byok"]
    cents = invoice_cents(byok, 100_000, schedule)
    assert cents == page.BYOK_AT_100_000_DISCOUNTED_CENTS
    assert invoice_cents(byok, 50_000, schedule) == invoice_cents(byok, 50_000)
    assert "assumption" in shipped.description


def test_the_parts_of_byoks_fee_add_up_to_it() -> None:
    (charge,) = CATALOGUE.plans["byok"].charges
    assert isinstance(charge, UnitCharge)
    assert charge.components == page.BYOK_COMPONENTS
    assert sum(Fraction(part) for part in charge.components.values()) == Fraction(charge.unit_price)


def test_token_prices() -> None:
    assert set(CATALOGUE.models) == set(page.TOKEN_PRICES)
    for model, (per_input, per_output) in page.TOKEN_PRICES.items():
        (price,) = CATALOGUE.models[model]
        assert (price.input_per_million, price.output_per_million) == (per_input, per_output)
    assert token_cents(page.MODEL, 1) == Fraction("1.05")


def test_where_byok_pro_breaks_even() -> None:
    byok, pro = CATALOGUE.plans["byok"], CATALOGUE.plans["byok_pro"]
    at = page.BREAK_EVEN_EXECUTIONS
    assert invoice_cents(byok, at) == invoice_cents(pro, at)
    assert invoice_cents(byok, at - 10) < invoice_cents(pro, at - 10)
    assert invoice_cents(byok, at + 10) > invoice_cents(pro, at + 10)


def test_only_a_succeeded_execution_is_billable() -> None:
    assert all(meter.filter == {"status": "succeeded"} for meter in CATALOGUE.meters.values())
