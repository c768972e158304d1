"""Which price of a model's tokens holds at an event's time, and what they cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.tokens import TokenPrice, TokenPrices, segment_of
from shared.periods import Period

FIRST = datetime(2025, 5, 22, tzinfo=UTC)
OCTOBER = Period(2026, 10)
CHANGE = datetime(2026, 10, 16, 13, 30, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


def token_price(model: str, since: datetime, cost: str = "3") -> TokenPrice:
    return TokenPrice(model, since, "USD", Decimal(cost), Decimal(cost) * 5)


PRICES = TokenPrices([token_price("sonnet", CHANGE, "2"), token_price("sonnet", FIRST)])


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        (FIRST - INSTANT, "sonnet@"),
        (FIRST, "sonnet@2025-05-22T00:00:00Z"),
        (CHANGE - INSTANT, "sonnet@2025-05-22T00:00:00Z"),
        (CHANGE, "sonnet@2026-10-16T13:30:00Z"),
        (CHANGE + timedelta(days=3650), "sonnet@2026-10-16T13:30:00Z"),
    ],
)
def test_a_price_holds_from_its_first_instant_until_the_next(moment: datetime, name: str) -> None:
    assert PRICES.name_at("sonnet", moment) == name
    price = PRICES.in_force("sonnet", moment)
    assert price is PRICES.by_name.get(name)


def test_an_unknown_model_has_no_price() -> None:
    assert PRICES.in_force("opus", CHANGE) is None
    assert PRICES.name_at("opus", CHANGE) == "opus@"
    assert "opus" not in PRICES
    assert "sonnet" in PRICES
    assert PRICES.models() == ["sonnet"]


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "cost"),
    [
        ("1000", "500", "0.0105"),
        ("1", "0", "0.000003"),
        ("0", "0", "0"),
        ("1000000000000", "1000000000000", "18000000"),
        ("0.000000000001", "0", "0.000000000000000003"),
    ],
)
def test_tokens_cost_so_much_a_million(input_tokens: str, output_tokens: str, cost: str) -> None:
    price = TokenPrice("sonnet", FIRST, "USD", Decimal("3.00"), Decimal("15.00"))
    assert price.cost(Decimal(input_tokens), Decimal(output_tokens)) == Decimal(cost)


TOKENS = st.decimals(0, 10**12, places=12)
COSTS = st.decimals(0, 10**6, places=12)


@given(TOKENS, TOKENS, COSTS, COSTS)
def test_the_cost_is_exact(
    input_tokens: Decimal, output_tokens: Decimal, input_cost: Decimal, output_cost: Decimal
) -> None:
    cost = TokenPrice("m", FIRST, "USD", input_cost, output_cost).cost(input_tokens, output_tokens)
    pairs = ((input_tokens, input_cost), (output_tokens, output_cost))
    assert Fraction(cost) == sum(Fraction(a) / 10**6 * Fraction(b) for a, b in pairs)


def test_a_month_is_cut_where_a_price_changes_within_it() -> None:
    assert PRICES.segments(OCTOBER) == [OCTOBER.start, CHANGE]
    assert PRICES.segments(OCTOBER.next()) == [OCTOBER.next().start]
    at_the_edges = TokenPrices(
        [token_price("a", OCTOBER.start), token_price("b", OCTOBER.end), token_price("c", CHANGE)]
    )
    assert at_the_edges.segments(OCTOBER) == [OCTOBER.start, CHANGE]
    assert TokenPrices().segments(OCTOBER) == [OCTOBER.start]


HOURS = st.integers(-40 * 24, 40 * 24).map(lambda hours: OCTOBER.start + timedelta(hours=hours))
NAMES = st.sampled_from(["a", "b"])


@given(st.lists(st.tuples(NAMES, HOURS), max_size=8, unique=True), st.integers(0, 31 * 24 - 1))
def test_a_segment_has_one_price_for_each_model(
    changes: list[tuple[str, datetime]], hour: int
) -> None:
    """An event is priced by its segment's first instant as by its own time."""
    prices = TokenPrices(token_price(model, since) for model, since in changes)
    moment = OCTOBER.start + timedelta(hours=hour)
    segment = segment_of(prices.segments(OCTOBER), moment)
    assert OCTOBER.start <= segment <= moment
    for model in ("a", "b", "c"):
        before = [since for name, since in changes if name == model and since <= moment]
        found = prices.in_force(model, moment)
        assert (found and found.effective_from) == max(before, default=None)
        assert prices.in_force(model, segment) is found
        assert prices.name_at(model, segment) == prices.name_at(model, moment)
