"""The price page's numbers come out of the catalogue that ships with the project."""

from decimal import Decimal
from fractions import Fraction

import pytest

from services.rater.catalogue.document import Plan
from services.rater.pricing import Coverage, UnitCharge, price
from services.rater.pricing.discounts import DiscountSchedule, discounted
from services.rater.tokens import TokenPrice
from shared.money import round_to_minor
from tests import pricing_facts as page
from tests.services.rater.factories import WHOLE, shipped_catalogue

CATALOGUE = shipped_catalogue()


def invoice_cents(plan: Plan, executions: int, discount: DiscountSchedule | None = None) -> int:
    """Give what a whole month under a plan comes to, each band rounded once."""
    bands = [
        band
        for charge in plan.charges
        for band in price(discounted(charge, discount), Decimal(executions), WHOLE)
    ]
    return sum(round_to_minor(band.amount, plan.currency) for band in bands)


def token_cents(model: str, executions: int) -> Decimal:
    (shipped,) = CATALOGUE.models[model]
    tokens = TokenPrice(
        model,
        shipped.effective_from,
        shipped.currency,
        shipped.input_per_million,
        shipped.output_per_million,
    )
    input_tokens, output_tokens = page.INPUT_TOKENS * executions, page.OUTPUT_TOKENS * executions
    return tokens.cost(Decimal(input_tokens), Decimal(output_tokens)) * 100


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
    schedule = DiscountSchedule(shipped.charge, shipped.tiers, mode=shipped.mode)
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
        (shipped,) = CATALOGUE.models[model]
        assert (shipped.input_per_million, shipped.output_per_million) == (per_input, per_output)
    assert token_cents(page.MODEL, 1) == Decimal("1.05")


def test_a_month_of_byok_pro_by_the_days_that_it_covers() -> None:
    """A switch to it on the 16th of October: the fee for 16 days of 31, the usage in full."""
    fee, executions = CATALOGUE.plans["byok_pro"].charges
    coverage = Coverage(range(16, 32), 31)
    (days,) = price(fee, Decimal(0), coverage)
    assert round_to_minor(days.amount, page.CURRENCY) == 9_81
    (used,) = price(executions, Decimal(1_000), coverage)
    assert round_to_minor(used.amount, page.CURRENCY) == 1_00


def test_where_byok_pro_breaks_even() -> None:
    byok, pro = CATALOGUE.plans["byok"], CATALOGUE.plans["byok_pro"]
    at = page.BREAK_EVEN_EXECUTIONS
    assert invoice_cents(byok, at) == invoice_cents(pro, at)
    assert invoice_cents(byok, at - 10) < invoice_cents(pro, at - 10)
    assert invoice_cents(byok, at + 10) > invoice_cents(pro, at + 10)


def test_only_a_succeeded_execution_is_billable() -> None:
    assert all(meter.filter == {"status": "succeeded"} for meter in CATALOGUE.meters.values())
