"""What becomes of an amount that was carried forward."""

import pytest

from services.invoicer.carried.balances import Balance
from services.invoicer.carried.documents import balances_document
from services.invoicer.carrying import Minimums

MINIMUMS = Minimums.read("USD=5.00")


def balance(amount_minor: int, *, is_last: bool = False, currency: str = "USD") -> Balance:
    return Balance("acme", currency, amount_minor, "2026-08", ["inv_1"], is_last)


@pytest.mark.parametrize(
    ("waiting", "fate"),
    [
        (balance(499), "next_invoice"),
        (balance(500), "next_run"),
        (balance(-500), "next_invoice"),
        (balance(0), "next_invoice"),
        (balance(50, is_last=True), "next_run"),
        (balance(49, is_last=True), "below_minimum"),
        (balance(0, is_last=True), "below_minimum"),
        (balance(-1, is_last=True), "credit"),
        (balance(1, is_last=True, currency="CLP"), "next_run"),
    ],
)
def test_what_becomes_of_it(waiting: Balance, fate: str) -> None:
    assert waiting.fate(MINIMUMS) == fate


def test_it_is_described_in_major_units() -> None:
    assert balances_document([balance(-120)], MINIMUMS)["carried"] == [
        {
            "customer": "acme",
            "currency": "USD",
            "amount": "-1.20",
            "since": "2026-08",
            "invoices": ["inv_1"],
            "contract_ended": False,
            "becomes": "next_invoice",
        }
    ]
