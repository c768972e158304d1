"""Every plan beside the others: the price page's totals, winners, and both readings of a saving."""

from decimal import Decimal
from typing import Any

import pytest

from services.rater.quotes.compare_request import (
    CompareRequest,
    check,
    month_of_totals,
    period_of,
    read_compare_request,
)
from services.rater.quotes.comparison import InvalidComparisonError, compare
from services.rater.quotes.request import InvalidJsonError
from shared.periods import Period
from tests import pricing_facts as page
from tests.services.rater.quotes.asking import NOW, OFFERS, PRESENT, cents, compared, offers_in

PAGE_ONLY = ("solo", "byok_pro")
"""Plans that stand in none of the page's tables of scenarios above 1,000."""


@pytest.mark.parametrize("fact", page.FACTS, ids=lambda fact: f"{fact.plan}-{fact.executions}")
def test_every_plan_at_every_scenario(fact: page.Fact) -> None:
    (row,) = [row for row in compared(fact.executions)["rows"] if row["plan"] == fact.plan]
    tokens = fact.token_cost_cents if fact.plan in page.TOKENS_PAID_BY_CUSTOMER else 0
    assert cents(row["amount_due"]) == fact.amount_due_cents
    assert cents(row["token_cost"]) == tokens
    assert cents(row["total"]) == fact.total_cents


@pytest.mark.parametrize("executions", page.EXECUTIONS)
def test_the_rows_stand_by_rank(executions: int) -> None:
    rows = compared(executions)["rows"]
    totals = [cents(row["total"]) for row in rows]
    assert totals == sorted(totals)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("executions", "exclude", "winner"),
    [
        (1_000, (), "solo"),
        (5_000, ("solo",), "basic"),
        (10_000, ("solo",), "basic"),
        (50_000, PAGE_ONLY, "basic"),
        (100_000, PAGE_ONLY, "basic"),
        (50_000, ("solo",), "byok_pro"),
    ],
)
def test_the_pages_winners(executions: int, exclude: tuple[str, ...], winner: str) -> None:
    rows = compared(executions, exclude)["rows"]
    assert rows[0]["plan"] == winner
    assert not {row["plan"] for row in rows} & {*exclude}


def test_byok_is_77_7_percent_below_standard() -> None:
    totals = {row["plan"]: cents(row["total"]) for row in compared(1_000)["rows"]}
    assert f"{1 - totals['byok'] / totals['standard']:.1%}" == "77.7%"


@pytest.mark.parametrize(
    ("executions", "fees_only", "with_recurring"),
    [
        (50_000, "50.00", "31.00"),
        (100_000, "100.00", "81.00"),
        (page.BREAK_EVEN_EXECUTIONS, "19.00", "0.00"),
        (1_000, "1.00", "-18.00"),
    ],
)
def test_both_readings_of_the_pages_saving(
    executions: int, fees_only: str, with_recurring: str
) -> None:
    assert compared(executions)["savings"] == [
        {
            "plan": "byok_pro",
            "against": "byok",
            "recurring": "19.00",
            "fees_only": fees_only,
            "with_recurring": with_recurring,
        }
    ]


def test_no_saving_is_told_of_a_plan_that_is_left_out() -> None:
    assert compared(50_000, ["byok"])["savings"] == []
    assert compared(50_000, ["byok_pro"])["savings"] == []


def test_plans_of_one_total_share_the_lower_rank() -> None:
    rows = compared(page.BREAK_EVEN_EXECUTIONS)["rows"]
    ranks = {row["plan"]: row["rank"] for row in rows}
    assert ranks["byok"] == ranks["byok_pro"] == 3
    assert ranks["standard"] == 5
    assert [row["plan"] for row in rows][2:4] == ["byok", "byok_pro"]


def test_token_costs_are_rounded_once() -> None:
    # 0.003 for input and 0.00201 for output: together a cent, rounded apart none.
    answer = compared(0, input_tokens=Decimal(1_000), output_tokens=Decimal(134))
    costs = {row["plan"]: row["token_cost"] for row in answer["rows"]}
    assert (costs["byok"], costs["solo"]) == ("0.01", "0.00")


def test_a_price_of_tokens_holds_from_its_date() -> None:
    offers = offers_in(CATALOGUE)
    answer = compared(1_000, offers=offers, model="m")
    assert {row["token_cost"] for row in answer["rows"]} == {"3.00"}
    with pytest.raises(InvalidComparisonError, match="has no price yet"):
        compared(1_000, offers=offers, model="later")


def test_plans_of_another_currency_are_left_out_and_said_so() -> None:
    answer = compared(1_000, offers=offers_in(CATALOGUE), model="m")
    assert [row["plan"] for row in answer["rows"]] == ["dollars"]
    assert answer["left_out"] == [{"plan": "euros", "currency": "EUR"}]
    excluded = compared(1_000, ["euros"], offers=offers_in(CATALOGUE), model="m")
    assert excluded["left_out"] == []


CATALOGUE = """
meters: {executions: {event_type: a, aggregate: count}}
plans:
  euros:
    version: 1
    name: E
    currency: EUR
    charges: [{code: x, model: unit, meter: executions, unit_price: 1}]
  dollars:
    version: 2
    name: D
    currency: USD
    tokens: paid_by_customer
    charges: [{code: x, model: unit, meter: executions, unit_price: 1}]
models:
  m:
    - {from: 2026-01-01, currency: USD, input_per_million: 1, output_per_million: 1}
    - {from: 2026-10-01, currency: USD, input_per_million: 2, output_per_million: 2}
    - {from: 2026-11-01, currency: USD, input_per_million: 9, output_per_million: 9}
  later:
    - {from: 2026-11-01, currency: USD, input_per_million: 1, output_per_million: 1}
  abroad:
    - {from: 2026-01-01, currency: EUR, input_per_million: 1, output_per_million: 1}
"""


def test_tokens_of_another_currency_are_in_no_total_and_said_so() -> None:
    answer = compared(1_000, offers=offers_in(CATALOGUE), model="abroad")
    assert answer["rows"][0]["token_cost"] == "0.00"
    assert answer["other_token_costs"] == {"EUR": "1.50"}


def test_an_unknown_model_is_told_with_the_known_ones() -> None:
    with pytest.raises(InvalidComparisonError) as caught:
        compared(1_000, model="gpt")
    assert caught.value.place == "model"
    for model in page.TOKEN_PRICES:
        assert model in str(caught.value)
    assert caught.value.exit_status == 1


def test_the_model_is_needed_where_a_plan_leaves_tokens_to_the_customer() -> None:
    with pytest.raises(InvalidComparisonError, match="model: is needed with tokens") as caught:
        compared(1_000, model=None)
    assert caught.value.exit_status == 2
    rows = compared(1_000, ["byok", "byok_pro"], model=None)["rows"]
    assert [row["plan"] for row in rows] == ["solo", "basic", "standard", "premium"]
    without_tokens = compared(1_000, model=None, input_tokens=None, output_tokens=Decimal(0))
    assert {row["token_cost"] for row in without_tokens["rows"]} == {"0.00"}


def test_a_plan_that_is_excluded_must_be_known() -> None:
    with pytest.raises(InvalidComparisonError, match="no plan 'gold'; there are: basic, byok"):
        compared(1_000, ["gold"])


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, "executions"),
        ({"model": page.MODEL}, "executions"),
        ({"customer": "acme", "executions": Decimal(1)}, "executions"),
        ({"customer": "acme", "output_tokens": Decimal(0)}, "output_tokens"),
        ({"customer": "acme", "model": page.MODEL}, "model"),
        ({"executions": Decimal(1), "period": "2026-10"}, "period"),
        ({"executions": Decimal(-1)}, "executions"),
        ({"executions": Decimal("NaN")}, "executions"),
        ({"input_tokens": Decimal("1e999")}, "input_tokens"),
    ],
)
def test_parts_that_do_not_go_together_are_wrong_use(given: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidComparisonError) as caught:
        check(CompareRequest(**given))
    assert caught.value.place == place
    assert (caught.value.exit_status, caught.value.status) == (2, 422)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"executions": "many"}', "executions"),
        (b'{"exclude": "solo"}', "exclude"),
        (b'{"exclude": [5]}', "exclude[0]"),
        (b'{"colour": "red"}', "request"),
        (b"[]", "request"),
    ],
)
def test_a_body_is_refused_with_its_place(text: bytes, place: str) -> None:
    with pytest.raises(InvalidComparisonError) as caught:
        read_compare_request(text)
    assert caught.value.place == place


@pytest.mark.parametrize("text", [b"", b"{", b'{"customer": "\xff"}'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidJsonError):
        read_compare_request(text)


def test_numbers_of_a_body_are_read_digit_for_digit() -> None:
    request = read_compare_request(b'{"executions": 1000, "input_tokens": "1.5", "model": "m"}')
    assert request.totals() == {"executions": Decimal(1000), "input_tokens": Decimal("1.5")}


def test_a_month_is_the_present_one_unless_named() -> None:
    assert period_of(CompareRequest(customer="acme"), PRESENT) == PRESENT
    named = CompareRequest(customer="acme", period="2026-02")
    assert period_of(named, PRESENT) == Period(2026, 2)
    with pytest.raises(InvalidComparisonError, match="period: '2026-2' is not a period"):
        period_of(CompareRequest(customer="acme", period="2026-2"), PRESENT)


def test_no_catalogue_gives_no_rows() -> None:
    request = CompareRequest(executions=Decimal(1))
    offers = offers_in("meters: {executions: {event_type: a, aggregate: count}}")
    assert compare(offers, month_of_totals(request, offers, NOW))["rows"] == []
    assert compare(OFFERS, month_of_totals(request, OFFERS, NOW))["period"] == "2026-10"
