"""What a line says of itself."""

from decimal import Decimal
from typing import Any

import pytest

from services.invoicer.describing import LONGEST, describe, grouped, price_text


def _described(**changed: Any) -> str:
    given: dict[str, Any] = {
        "plan": "byok_pro",
        "charge": "executions",
        "band": "all",
        "kind": "usage",
        "usage_period": "2026-10",
        "posting_period": "2026-10",
        "quantity": Decimal(50000),
        "unit_price": Decimal("0.001"),
        "exact_amount": Decimal(50),
        "currency": "USD",
    }
    return describe(**{**given, **changed})


NOTHING = {"unit_price": Decimal(0), "exact_amount": Decimal(0)}
FIVE_EACH = {"unit_price": Decimal(5), "exact_amount": Decimal(15)}
AMOUNT_ONLY = {"quantity": Decimal(0), "unit_price": Decimal(0), "exact_amount": Decimal("-1.25")}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "byok_pro · executions · 50,000 × $0.001 (exact 50)"),
        (
            {"band": "0 to 50000"},
            "byok_pro · executions · 1–50000 · 50,000 × $0.001 (exact 50)",
        ),
        (
            {"band": "over 50000"},
            "byok_pro · executions · over 50000 · 50,000 × $0.001 (exact 50)",
        ),
        (
            {"band": "0 to 50000 flat fee", "quantity": Decimal(1), "unit_price": Decimal(5)},
            "byok_pro · executions · 1–50000 flat fee · 1 × $5.00 (exact 50)",
        ),
        (
            {"band": "0.5 to 2"},
            "byok_pro · executions · 0.5 to 2 · 50,000 × $0.001 (exact 50)",
        ),
        (
            {"band": "days 16 to 31 of 31"},
            (
                "byok_pro · executions · days 16 to 31 of 31 (16 of 31 days)"
                " · 50,000 × $0.001 (exact 50)"
            ),
        ),
        (
            {"kind": "adjustment", "usage_period": "2026-09"},
            (
                "byok_pro · executions · adjustment · late usage of 2026-09 · 50,000 × $0.001"
                " (exact 50)"
            ),
        ),
        (
            {"band": "free", "quantity": Decimal(1000), **NOTHING},
            "byok_pro · executions · free · 1,000 × $0.00 (exact 0)",
        ),
        (
            {"band": "packages of 1000", "quantity": Decimal(3), **FIVE_EACH},
            "byok_pro · executions · 3 packages of 1,000 × $5.00 (exact 15)",
        ),
        (
            {"band": "packages of 0.5", "quantity": Decimal(-1), **FIVE_EACH},
            "byok_pro · executions · -1 package of 0.5 × $5.00 (exact 15)",
        ),
        (
            {"band": "discount 12.5 %", **AMOUNT_ONLY},
            "byok_pro · executions · discount 12.5 % (exact -1.25)",
        ),
        (
            {"band": "minimum spend", **AMOUNT_ONLY},
            "byok_pro · executions · minimum spend (exact -1.25)",
        ),
        (
            {"band": "maximum spend", "kind": "adjustment", **AMOUNT_ONLY},
            "byok_pro · executions · maximum spend · adjustment (exact -1.25)",
        ),
        (
            {"band": "flat", "quantity": Decimal(1), **FIVE_EACH},
            "byok_pro · executions · flat · 1 × $5.00 (exact 15)",
        ),
    ],
)
def test_a_line_names_plan_charge_band_month_and_its_arithmetic(
    changed: dict[str, Any], text: str
) -> None:
    assert _described(**changed) == text


@pytest.mark.parametrize(
    ("price", "currency", "text"),
    [
        ("0.001", "USD", "$0.001"),
        ("2", "CHF", "CHF 2.00"),
        ("-19", "EUR", "-€19.00"),
        ("100", "JPY", "¥100"),
        ("0.0000001", "USD", "$0.0000001"),
    ],
)
def test_a_price_is_written_in_full(price: str, currency: str, text: str) -> None:
    assert price_text(Decimal(price), currency) == text


@pytest.mark.parametrize(
    ("quantity", "text"),
    [("1234567.5", "1,234,567.5"), ("-1000", "-1,000"), ("0", "0"), ("1E+4", "10,000")],
)
def test_a_quantity_is_written_with_commas(quantity: str, text: str) -> None:
    assert grouped(Decimal(quantity)) == text


def test_a_description_is_never_longer_than_stripe_takes() -> None:
    assert len(_described(plan="p" * 600)) == LONGEST


def test_names_that_are_too_long_are_cut_and_no_digit_is() -> None:
    for changed in ({}, AMOUNT_ONLY):
        whole = _described(**changed)
        arithmetic = whole.removeprefix("byok_pro · executions")
        assert _described(plan="p" * 600, **changed).endswith("p" + arithmetic)
