"""What is sent to Stripe is canonical: equal invoices have equal hashes, others never."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.invoicer.building import InvoiceKey
from services.invoicer.fee_days import fee_days
from services.invoicer.payload import (
    LINES_PER_CALL,
    billing_key,
    chunks,
    invoice_id,
    line_metadata,
    payload_sha256,
    usage_seconds,
)
from services.rater.pricing import Coverage
from shared.periods import Period
from tests.services.invoicer.factories import draft, fee, key, posted


def test_a_billing_key_says_what_the_invoice_is_for() -> None:
    assert billing_key(key()) == "acme:2026-10:USD:monthly:1"


@pytest.mark.parametrize(
    "other",
    [
        InvoiceKey("acme", "2026-10", "EUR"),
        InvoiceKey("acme", "2026-11", "USD"),
        InvoiceKey("acme:2026-10", "2026-10", "USD"),
        InvoiceKey("acme", "2026-10", "USD", revision=2),
        InvoiceKey("acme", "2026-10", "USD", kind="final"),
        InvoiceKey("ACME", "2026-10", "USD"),
    ],
)
def test_another_invoice_has_another_key_and_id(other: InvoiceKey) -> None:
    assert billing_key(other) != billing_key(key())
    assert invoice_id(other) != invoice_id(key())


def test_a_customer_cannot_forge_anothers_key_with_its_separator() -> None:
    forged = InvoiceKey("a:2026-10:USD:monthly", "2026-10", "USD")
    assert billing_key(forged).count(":") == 4


def test_the_longest_customer_id_makes_a_key_that_stripe_takes() -> None:
    keys = [billing_key(key("ü" * 255 + end)) for end in "xy"]
    assert all(len(one) <= 500 for one in keys)
    assert keys[0] != keys[1]


def test_equal_invoices_have_equal_hashes_however_numbers_are_written() -> None:
    one = draft(posted("100", "0.002"), fee("19"))
    other = draft(fee("19.00"), posted("100.0", "0.0020"))
    assert payload_sha256(one) == payload_sha256(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"quantity": "101"},
        {"price": "0.0021"},
        {"amount": Decimal("0.21")},
        {"band": "0 to 50000"},
        {"kind": "adjustment"},
        {"usage_period": "2026-09"},
        {"contract_id": "con_new"},
        {"charge": "tokens"},
    ],
)
def test_any_change_of_a_line_changes_the_hash(changed: dict[str, Any]) -> None:
    assert payload_sha256(draft(posted(**changed))) != payload_sha256(draft(posted()))


def test_another_customer_or_currency_changes_the_hash() -> None:
    hashes = {
        payload_sha256(draft(posted(), **of)) for of in ({}, {"customer": "b"}, {"currency": "EUR"})
    }
    assert len(hashes) == 3


def test_a_line_carries_the_facts_to_follow_it_back() -> None:
    (line,) = draft(posted("12345.5", "0.0000001")).lines
    assert line_metadata(line) == {
        "position": "1",
        "charge": "executions",
        "band": "all",
        "kind": "usage",
        "quantity": "12345.5",
        "unit_price": "0.0000001",
        "exact_amount": "0.00123455",
        "usage_period": "2026-10",
        "contract": "con_old",
    }


def test_a_lines_period_is_its_month_of_use_in_unix_time() -> None:
    (line,) = draft(posted(usage_period="2026-09")).lines
    assert usage_seconds(line) == (1788220800, 1790812800)


@pytest.mark.parametrize(
    ("band", "month", "days", "seconds"),
    [
        ("whole month", "2026-09", "30 of 30 days", (1788220800, 1790812800)),
        ("days 16 to 31 of 31", "2026-10", "16 of 31 days", (1792108800, 1793491200)),
        ("days 1 to 1 of 30", "2026-09", "1 of 30 days", (1788220800, 1788307200)),
    ],
)
def test_a_fee_says_which_days_it_covers(
    band: str, month: str, days: str, seconds: tuple[int, int]
) -> None:
    (line,) = draft(fee(band=band, usage_period=month)).lines
    assert days in line.description
    assert line_metadata(line)["days"] == days
    assert usage_seconds(line) == seconds


@pytest.mark.parametrize("starts", [None, 1, 16, 30])
def test_the_days_are_those_that_the_rater_names(starts: int | None) -> None:
    october = Period(2026, 10)
    start = october.start if starts is None else october.start + timedelta(days=starts - 1)
    coverage = Coverage.of(october, start, None)
    assert str(fee_days(coverage.label, "2026-10")) == f"{len(coverage.days)} of 31 days"


def test_lines_go_in_calls_of_a_hundred_whichever_are_still_missing() -> None:
    items = [posted(band=f"{n} to {n + 1}", ids=[n]) for n in range(250)]
    lines = draft(*items).lines
    assert [len(part) for part in chunks(lines)] == [LINES_PER_CALL, LINES_PER_CALL, 50]
    assert chunks(lines[100:]) == chunks(lines)[1:]
    assert chunks([]) == []
