"""A quote: a line a band, each rounded once; the price page's numbers; the fee's parts."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.quotes.lines import LineDocument
from tests import pricing_facts as page
from tests.services.rater.quotes.asking import cents, quoted

DOCUMENTED = {
    "currency": "USD",
    "period": "2026-10",
    "charges": [
        {
            "code": "executions",
            "model": "graduated",
            "tiers": [
                {"up_to": "50000", "unit_price": "0.002", "flat_fee": "0"},
                {"up_to": None, "unit_price": "0.0018", "flat_fee": "0"},
            ],
            "free_units": "0",
            "minimum_spend": None,
            "maximum_spend": None,
            "discount_percent": None,
        },
        {
            "code": "subscription",
            "model": "recurring",
            "amount": "19.00",
            "from": "2026-10-16T00:00:00Z",
            "to": None,
        },
    ],
    "usage": {"executions": "100000"},
}


def line(charge: str, band: str, quantity: str, unit_price: str, exact: str, amount: str) -> Any:
    return {
        "charge": charge,
        "band": band,
        "quantity": quantity,
        "unit_price": unit_price,
        "exact_amount": exact,
        "amount": amount,
    }


def test_the_documented_example() -> None:
    prorated = "9.806451612903"
    assert quoted(DOCUMENTED) == {
        "currency": "USD",
        "lines": [
            line("executions", "0 to 50000", "50000", "0.002", "100", "100.00"),
            line("executions", "over 50000", "50000", "0.0018", "90", "90.00"),
            line("subscription", "days 16 to 31 of 31", "1", prorated, prorated, "9.81"),
        ],
        "exact_total": "199.806451612903",
        "total": "199.81",
    }


def test_an_amount_without_a_quantity_is_shown_as_one_of_it() -> None:
    charge = {
        "code": "a",
        "model": "unit",
        "unit_price": "1",
        "free_units": "5",
        "discount_percent": "10",
        "minimum_spend": "12.345",
    }
    assert quoted({"charges": [charge], "usage": {"a": "15"}})["lines"] == [
        line("a", "free", "5", "0", "0", "0.00"),
        line("a", "all", "10", "1", "10", "10.00"),
        line("a", "discount 10 %", "1", "-1", "-1", "-1.00"),
        line("a", "minimum spend", "1", "3.345", "3.345", "3.35"),
    ]
    capped = {**charge, "minimum_spend": None, "maximum_spend": "7.5"}
    assert quoted({"charges": [capped], "usage": {"a": "15"}})["lines"][-1] == (
        line("a", "maximum spend", "1", "-1.5", "-1.5", "-1.50")
    )


def test_a_minimum_is_prorated_by_the_days_of_its_charge() -> None:
    charge = {"code": "a", "model": "unit", "unit_price": "1", "minimum_spend": "31"}
    half = {**charge, "from": "2026-10-02", "to": "2026-10-12"}
    assert quoted({"charges": [half], "period": "2026-10"})["total"] == "10.00"
    assert quoted({"charges": [charge], "period": "2026-10"})["total"] == "31.00"


def test_the_total_is_the_sum_of_the_rounded_lines() -> None:
    charges = [
        {"code": code, "model": "unit", "unit_price": "0.005", "meter": "m"} for code in "abc"
    ]
    answer = quoted({"charges": charges, "usage": {"m": "1"}})
    assert (answer["total"], answer["exact_total"]) == ("0.03", "0.015")


@pytest.mark.parametrize(
    ("currency", "amount", "total"),
    [("JPY", "0.5", "1"), ("KWD", "0.005", "0.010"), ("EUR", "0.005", "0.01")],
)
def test_amounts_have_the_places_of_their_currency(currency: str, amount: str, total: str) -> None:
    charge = {"code": "a", "model": "flat", "amount": amount}
    answer = quoted({"currency": currency, "charges": [charge]})
    assert (answer["currency"], answer["total"]) == (currency, total)
    assert answer["exact_total"] == amount


@pytest.mark.parametrize("fact", page.FACTS, ids=lambda fact: f"{fact.plan}-{fact.executions}")
def test_every_plan_at_every_scenario(fact: page.Fact) -> None:
    answer = quoted({"plan": fact.plan, "usage": {"executions": fact.executions}})
    assert answer["currency"] == page.CURRENCY
    assert cents(answer["total"]) == fact.amount_due_cents


def test_byok_under_the_volume_discount() -> None:
    discounted = {"plan": "byok", "discount": page.DISCOUNT}
    answer = quoted({**discounted, "usage": {"executions": "100000"}})
    assert cents(answer["total"]) == page.BYOK_AT_100_000_DISCOUNTED_CENTS
    at_the_edge = {"usage": {"executions": "50000"}}
    assert quoted({**discounted, **at_the_edge})["total"] == "100.00"
    above = quoted({**discounted, "usage": {"executions": "50001"}})
    assert above["exact_total"] == "100.0018"


def test_byok_costs_0_0125_an_execution_and_standard_0_056() -> None:
    (facts,) = (page.TOKEN_PRICES[page.MODEL],)
    tokens = (facts[0] * page.INPUT_TOKENS + facts[1] * page.OUTPUT_TOKENS) / 1_000_000
    byok = Decimal(quoted({"plan": "byok", "usage": {"executions": 1}})["exact_total"]) + tokens
    standard = Decimal(quoted({"plan": "standard", "usage": {"executions": 1}})["exact_total"])
    assert (byok, standard) == (Decimal("0.0125"), Decimal("0.056"))
    assert round(100 * (1 - byok / standard), 1) == Decimal("77.7")


def test_where_byok_pro_breaks_even() -> None:
    usage = {"executions": page.BREAK_EVEN_EXECUTIONS}
    assert quoted({"plan": "byok", "usage": usage})["total"] == "38.00"
    assert quoted({"plan": "byok_pro", "usage": usage})["total"] == "38.00"


def components(line: LineDocument) -> dict[str, int]:
    return {name: cents(amount) for name, amount in line.get("components", {}).items()}


def test_the_fees_parts_at_a_round_amount() -> None:
    (line,) = quoted({"plan": "byok", "usage": {"executions": "1000"}})["lines"]
    assert line["components"] == {
        "infrastructure": "0.50",
        "security": "0.30",
        "features": "0.70",
        "support": "0.50",
    }


@given(st.decimals(0, 10**7, allow_nan=False, places=3), st.sampled_from([None, page.DISCOUNT]))
def test_the_fees_parts_add_up_to_every_line_to_the_cent(
    executions: Decimal, discount: str | None
) -> None:
    request = {"plan": "byok", "discount": discount, "usage": {"executions": str(executions)}}
    for line in quoted(request)["lines"]:
        assert set(components(line)) == set(page.BYOK_COMPONENTS)
        assert sum(components(line).values()) == cents(line["amount"])


@pytest.mark.parametrize(
    ("executions", "parts"),
    [(3, [0, 0, 1, 0]), (8, [1, 0, 1, 0]), (13, [1, 0, 1, 1]), (1_003, [50, 30, 71, 50])],
)
def test_the_fees_parts_at_awkward_amounts(executions: int, parts: list[int]) -> None:
    (line,) = quoted({"plan": "byok", "usage": {"executions": executions}})["lines"]
    assert list(components(line).values()) == parts


def test_a_lines_parts_can_be_of_a_discount_too() -> None:
    charge = {
        "code": "a",
        "model": "unit",
        "unit_price": "1",
        "components": {"x": "0.5", "y": "0.5"},
        "discount_percent": "3",
    }
    _, discount = quoted({"charges": [charge], "usage": {"a": "1"}})["lines"]
    assert discount["components"] == {"x": "-0.02", "y": "-0.01"}


def test_other_charges_have_no_parts() -> None:
    lines = quoted({"plan": "byok_pro", "usage": {"executions": "10"}})["lines"]
    assert [line.keys() & {"components"} for line in lines] == [set(), set()]


def test_a_price_of_ones_own_stands_in_the_place_of_the_plans() -> None:
    request = {
        "plan": "byok_pro",
        "overrides": {"executions": {"unit_price": "0.0005"}, "subscription": {"amount": 10}},
        "usage": {"executions": "1000"},
    }
    assert quoted(request)["total"] == "10.50"
    discounted = {**request, "discount": page.DISCOUNT, "usage": {"executions": "60000"}}
    assert quoted(discounted)["exact_total"] == "39.5"
