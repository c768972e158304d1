"""A month's quantities are added up over the contracts that share it, each by its aggregate."""

from decimal import Decimal

from services.rater.quotes.compare_request import month_of_customer
from services.rater.usage.month import Split, quantities, whole_quantities
from services.rater.usage.token_costs import costs_by_currency, token_costs, unpriced_models
from tests.services.rater.usage.factories import (
    EURO,
    HAIKU,
    NEW,
    OLD,
    PERIOD,
    PRICES,
    key,
    month,
    tokens,
)

D = Decimal
TOTALS = {
    key("con_1", "executions"): D(10),
    key("con_2", "executions"): D(5),
    key("con_1", "executions", "model", "sonnet"): D(7),
    key("con_2", "executions", "model", "sonnet"): D(1),
    key("con_1", "peak"): D("2.5"),
    key("con_2", "peak"): D(2),
    key("con_1", "users"): D(3),
    key("con_2", "users"): D(4),
    key("con_1", "users", "model", "sonnet"): D(2),
}


def test_counts_add_up_and_the_highest_stays_the_highest() -> None:
    found = quantities(month(TOTALS))
    assert found[Split("executions", "", "")] == 15
    assert found[Split("executions", "model", "sonnet")] == 8
    assert found[Split("peak", "", "")] == D("2.5")


def test_what_two_contracts_have_met_counts_once() -> None:
    distinct = {Split("users", "", ""): D(5)}
    found = quantities(month(TOTALS, distinct=distinct))
    assert found[Split("users", "", "")] == 5
    assert found[Split("users", "model", "sonnet")] == 2


def test_meters_that_counted_nothing_are_told_too() -> None:
    found = whole_quantities(month({key("con_1", "executions"): D(1)}))
    assert found == {
        "executions": 1, "input_tokens": 0, "output_tokens": 0, "peak": 0, "users": 0,
    }  # fmt: skip


def test_tokens_cost_what_their_price_was_at_the_events_time() -> None:
    totals = {
        **tokens(OLD.name, 1_000_000, 0),
        **tokens(NEW.name, 1_000_000, 100_000),
        **tokens(HAIKU.name, 0, 1, "con_2"),
    }
    costs = token_costs(totals, PRICES)
    assert {(cost.contract_id, cost.model, cost.amount) for cost in costs} == {
        ("con_1", "sonnet", D(3)),
        ("con_1", "sonnet", D(9)),
        ("con_2", "haiku", D("0.000005")),
    }
    assert costs_by_currency(costs) == {"USD": D("12.000005")}
    assert unpriced_models(costs) == []


def test_tokens_without_a_price_cost_nothing_known_and_are_named() -> None:
    totals = {**tokens("made@home@", 5, 5), **tokens("gone@", 0, 0), **tokens(OLD.name, 1, 0)}
    costs = token_costs(totals, PRICES)
    assert unpriced_models(costs) == ["made@home"]
    assert costs_by_currency(costs) == {"USD": D("0.000003")}


def test_other_running_totals_cost_nothing() -> None:
    assert token_costs({key("con_1", "input_tokens", "model", "sonnet"): D(5)}, PRICES) == []


def test_a_real_month_is_compared_on_all_that_was_used_in_it() -> None:
    totals = {**TOTALS, **tokens(OLD.name, 1_000_000, 0), **tokens(EURO.name, 0, 1_000_000)}
    found = month_of_customer(month({**totals, **tokens("gone@", 1, 1)}))
    assert (found.period, found.currency) == (PERIOD, "USD")
    assert found.usage["executions"] == 15
    assert found.token_costs == {"USD": 3, "EUR": 6}
    assert found.unpriced_models == ["gone"]
