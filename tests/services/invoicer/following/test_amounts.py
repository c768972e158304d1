"""A credit is of whole minor units, and what is paid already goes to the customer's balance."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.following.amounts import credit_minor, to_balance
from shared.errors import InvalidInputError


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("4.20", "USD", 420), ("4.2", "USD", 420), ("7", "JPY", 7), ("0.001", "KWD", 1)],
)
def test_an_amount_in_minor_units(amount: str, currency: str, minor: int) -> None:
    assert credit_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("0", "USD"), ("-1", "USD"), ("0.001", "USD"), ("0.5", "JPY"), ("NaN", "USD"), ("Inf", "USD")],
)
def test_what_is_no_amount_to_credit(amount: str, currency: str) -> None:
    with pytest.raises(InvalidInputError, match="no amount to credit"):
        credit_minor(Decimal(amount), currency)


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_an_open_invoice_is_lowered_first(amount: int, remaining: int) -> None:
    balance = to_balance(amount, "open", remaining)
    assert 0 <= balance <= amount
    assert amount - balance == min(amount, remaining)
    assert to_balance(amount, "paid", remaining) == amount
