"""What is told of a customer's month: usage and its split, lines rounded once, token costs."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.rater.usage.document import usage_document
from tests.services.rater.usage.factories import (
    EURO,
    FIRST,
    HAIKU,
    NEW,
    OLD,
    key,
    month,
    posted,
    tokens,
)

D = Decimal


def test_a_month_of_two_contracts() -> None:
    totals = {
        key("con_1", "executions"): D(1_000),
        key("con_2", "executions"): D(500),
        key("con_1", "executions", "model", "sonnet"): D(1_000),
        key("con_1", "executions", "key_label", "main"): D(600),
        key("con_1", "executions", "key_label", "spare"): D(400),
        key("con_1", "executions", "region", "eu"): D(1_000),
        **tokens(OLD.name, 1_000_000, 500_000),
    }
    lines = [
        posted("1000", "0.002", "2"),
        posted("500", "0.056", "28", contract_id="con_2"),
    ]
    document = usage_document(month(totals, lines))
    assert document["meters"]["executions"] == "1500"
    assert document["by_model"] == {"sonnet": {"executions": "1000", "token_cost": "10.50"}}
    assert document["by_key"] == {"main": {"executions": "600"}, "spare": {"executions": "400"}}
    assert document["lines"] == [
        {
            "charge": "executions",
            "band": "all",
            "quantity": "1000",
            "unit_price": "0.002",
            "exact_amount": "2",
            "amount": "2.00",
            "components": {"a": "1.00", "b": "1.00"},
            "contract": "con_1",
            "plan": "plan@1",
            "usage_period": "2026-10",
        },
        {
            "charge": "executions",
            "band": "all",
            "quantity": "500",
            "unit_price": "0.056",
            "exact_amount": "28",
            "amount": "28.00",
            "contract": "con_2",
            "plan": "plan@1",
            "usage_period": "2026-10",
        },
    ]
    assert (document["amount_due"], document["token_cost"]) == ("30.00", "10.50")
    assert document["tokens"] == {
        "con_1": {"plan": "plan@1", "paid_by": "customer", "token_cost": "10.50"},
        "con_2": {"plan": "plan@1", "paid_by": "plan", "token_cost": "0.00"},
    }
    assert (document["as_of"], document["period"]) == ("2026-10-20T12:00:00Z", "2026-10")


def test_nothing_used_is_a_month_too() -> None:
    document = usage_document(month())
    assert set(document["meters"].values()) == {"0"}
    assert (document["lines"], document["by_model"], document["by_key"]) == ([], {}, {})
    assert (document["amount_due"], document["token_cost"]) == ("0.00", "0.00")


def test_each_line_is_rounded_once_and_those_of_nothing_are_left_out() -> None:
    lines = [
        posted("2.5", "0.002", "0.005"),
        posted("2.5", "0.002", "0.005", usage_period="2026-09"),
        posted("0", "0.5", "0", band="gone"),
        posted("0", "0", "3.345", band="minimum spend"),
        posted("-5", "0.001", "-0.005", band="undone"),
        posted("7", "0", "0", band="free"),
    ]
    document = usage_document(month({}, lines))
    shown = [
        (one["band"], one["quantity"], one["unit_price"], one["amount"])
        for one in document["lines"]
    ]
    assert shown == [
        ("all", "2.5", "0.002", "0.01"),
        ("all", "2.5", "0.002", "0.01"),
        ("minimum spend", "1", "3.345", "3.35"),
        ("undone", "-5", "0.001", "-0.01"),
        ("free", "7", "0", "0.00"),
    ]
    assert document["amount_due"] == "3.36"


def test_a_contract_that_is_over_is_not_among_those_of_the_month_but_its_lines_are() -> None:
    over = replace(FIRST, id="con_0", ends_at=datetime(2026, 10, 1, tzinfo=UTC))
    late = posted("1", "0.002", "0.002", contract_id="con_0", usage_period="2026-09")
    document = usage_document(month({}, [late], [over, FIRST], tokens={"con_0": "", "con_1": ""}))
    assert set(document["tokens"]) == {"con_1"}
    assert [line["contract"] for line in document["lines"]] == ["con_0"]


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_what_models_and_contracts_cost_adds_up_to_the_token_cost(
    old: int, new: int, haiku: int
) -> None:
    totals = {
        **{key("con_1", "executions", "model", model): D(1) for model in ("sonnet", "haiku")},
        **tokens(OLD.name, old, 1),
        **tokens(NEW.name, new, 1, "con_2"),
        **tokens(HAIKU.name, haiku, 1, "con_2"),
    }
    document = usage_document(month(totals))
    exact = D(3 * old + 15 + 6 * new + 30 + haiku + 5) / 1_000_000
    assert abs(D(document["token_cost"]) - exact) <= D("0.005")
    models = [D(one["token_cost"] or "") for one in document["by_model"].values()]
    assert sum(models) == D(document["token_cost"])
    contracts = [D(one["token_cost"]) for one in document["tokens"].values()]
    assert sum(contracts) == D(document["token_cost"])


def test_tokens_that_cannot_be_in_the_cost_are_named() -> None:
    totals = {
        **{
            key("con_1", "executions", "model", model): D(1)
            for model in ("sonnet", "mistral", "homemade")
        },
        **tokens(OLD.name, 1_000_000, 0),
        **tokens(EURO.name, 1_000_000, 0),
        **tokens("homemade@", 1_000_000, 0),
    }
    document = usage_document(month(totals))
    costs = {model: one["token_cost"] for model, one in document["by_model"].items()}
    assert costs == {"sonnet": "3.00", "mistral": None, "homemade": None}
    assert document["token_cost"] == "3.00"
    assert document["unpriced_models"] == ["homemade"]
    assert document["other_token_costs"] == {"EUR": "2.00"}
