"""Which thresholds are reached: each once, exactly on the bound, for whom and when they hold."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.alerts.reaching import Measure, Measured, Raised, Rule, newly_reached

SPEND = Measure(None, "USD")
USAGE = Measure("executions", None)
RULE = Rule("a", None, SPEND, None, (Decimal(50), Decimal(100)), "2026-10")


def reached(
    rule: Rule, amount: str, raised: Sequence[Raised] = (), *, customer: str = "acme",
    period: str = "2026-10", measure: Measure = SPEND,
) -> list[str]:  # fmt: skip
    totals = {Measured(customer, period, measure): Decimal(amount)}
    return [str(one.threshold) for one in newly_reached([rule], totals, raised)]


def test_exactly_on_the_bound_is_reached_and_the_least_below_is_not() -> None:
    assert reached(RULE, "49.999999999999") == []
    assert reached(RULE, "50.00") == ["50"]
    assert reached(RULE, "99.99") == ["50"]
    assert reached(RULE, "100") == ["50", "100"]


def test_percents_are_of_the_budget_and_may_lie_beyond_it() -> None:
    rule = replace(RULE, budget=Decimal("33.33"), thresholds=(Decimal(120), Decimal(50)))
    assert reached(rule, "16.664") == []
    assert reached(rule, "16.665") == ["50"]
    assert reached(rule, "39.996") == ["50", "120"]


def test_what_was_raised_is_not_raised_again_but_in_another_month_it_is() -> None:
    raised = [Raised("a", "acme", "2026-10", Decimal("50.0"))]
    assert reached(RULE, "100", raised) == ["100"]
    assert reached(RULE, "50", raised, period="2026-11") == ["50"]
    assert reached(RULE, "50", raised, customer="bob") == ["50"]


def test_a_rule_looks_only_at_its_customer_its_measure_and_its_months() -> None:
    assert reached(replace(RULE, customer_id="bob"), "100") == []
    assert reached(replace(RULE, customer_id="acme"), "100") == ["50", "100"]
    assert reached(RULE, "100", measure=Measure(None, "EUR")) == []
    assert reached(RULE, "100", measure=USAGE) == []
    assert reached(RULE, "100", period="2026-09") == []


amounts = st.decimals(Decimal("0.01"), 200, places=2)
rules = st.builds(
    Rule,
    st.sampled_from("abc"),
    st.sampled_from([None, "acme", "bob"]),
    st.sampled_from([SPEND, USAGE]),
    st.none() | amounts,
    st.lists(amounts, min_size=1, max_size=4, unique=True).map(tuple),
    st.sampled_from(["2026-09", "2026-10", "2026-11"]),
)
keys = st.tuples(
    st.sampled_from(["acme", "bob", "eve"]),
    st.sampled_from(["2026-09", "2026-10"]),
    st.sampled_from([SPEND, USAGE]),
).map(lambda parts: Measured(*parts))


@given(
    st.lists(rules, max_size=3, unique_by=lambda rule: rule.id),
    st.lists(st.dictionaries(keys, amounts), max_size=4),
)
def test_month_by_month_each_is_raised_once_and_as_soon_as_it_is_reached(
    held: list[Rule], looks: list[dict[Measured, Decimal]]
) -> None:
    """However totals go up and down: what was ever reached at a look is raised, and once."""
    raised: list[Raised] = []
    for totals in looks:
        raised += [one.key for one in newly_reached(held, totals, set(raised))]
    expected = {
        (rule.id, whose.customer_id, whose.period, threshold)
        for totals in looks
        for whose, amount in totals.items()
        for rule in held
        for threshold in rule.thresholds
        if rule.measure == whose.measure
        and rule.customer_id in (None, whose.customer_id)
        and whose.period >= rule.since
        and Fraction(amount)
        >= (
            Fraction(threshold)
            if rule.budget is None
            else Fraction(rule.budget) * Fraction(threshold) / 100
        )
    }
    assert len(raised) == len(set(raised))
    assert {tuple(one) for one in raised} == expected


@given(st.lists(rules, max_size=3, unique_by=lambda rule: rule.id), st.dictionaries(keys, amounts))
def test_the_order_is_the_same_whatever_that_of_rules_and_totals(
    held: list[Rule], totals: dict[Measured, Decimal]
) -> None:
    backwards = dict(reversed(totals.items()))
    assert newly_reached(held, totals, ()) == newly_reached(held[::-1], backwards, ())
