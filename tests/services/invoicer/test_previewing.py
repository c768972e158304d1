"""A preview says what to look at before anything is sent."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.invoicer.building import Draft
from services.invoicer.previewing import (
    CustomerFacts,
    LastMonth,
    Preview,
    PreviewedInvoice,
    Unsettled,
    total_by_currency,
)
from shared.periods import Period
from tests.services.invoicer.factories import draft, posted

CALM = CustomerFacts("ada@example.com", used=True, used_last_month=True)


def last_month(total_minor: int) -> LastMonth:
    return LastMonth("acme", "USD", total_minor)


@pytest.mark.parametrize(
    ("made", "last", "customer", "warnings"),
    [
        (draft(), None, CALM, ["first_invoice"]),
        (draft(), last_month(1920), CALM, []),
        (draft(), last_month(1281), CALM, []),
        (draft(), last_month(1279), CALM, ["jump"]),
        (draft(), last_month(3840), CALM, []),
        (draft(), last_month(3842), CALM, ["jump"]),
        (draft(), last_month(0), CALM, ["jump"]),
        (draft(posted("1", "0")), last_month(0), CALM, ["nothing_due"]),
        (draft(posted("-1", "1")), last_month(-100), CALM, ["negative_total"]),
        (draft(), last_month(1920), replace(CALM, used=False), ["usage_stopped"]),
        (draft(), last_month(1920), replace(CALM, used=False, used_last_month=False), []),
        (draft(), last_month(1920), replace(CALM, used_last_month=False), []),
        (draft(), last_month(1920), replace(CALM, open_conflicts=1), ["open_conflicts"]),
    ],
)
def test_warnings(
    made: Draft, last: LastMonth | None, customer: CustomerFacts, warnings: list[str]
) -> None:
    assert PreviewedInvoice(made, last, customer, 50).warnings == warnings


@pytest.mark.parametrize(("percent", "warns"), [(0, True), (9, True), (10, False), (11, False)])
def test_from_which_change_on_is_said_by_who_asks(percent: int, warns: bool) -> None:
    one = PreviewedInvoice(draft(posted("110", "1")), last_month(10000), CALM, percent)
    assert ("jump" in one.warnings) is warns


@pytest.mark.parametrize("email", ["", "ada", "ada@localhost", "@example.com", "a b@example.com"])
def test_an_address_at_which_nobody_is_reached_is_warned_of(email: str) -> None:
    one = PreviewedInvoice(draft(), last_month(1920), replace(CALM, email=email), 50)
    assert one.warnings == ["bad_contact"]


@pytest.mark.parametrize(
    ("units", "least", "warned"),
    [("49", "0.50", True), ("50", "0.50", False), ("-1", "0.50", False), ("1", "0", False)],
)
def test_a_total_too_small_to_be_sent_is_warned_of(units: str, least: str, warned: bool) -> None:
    made = draft(posted(units, "0.01"))
    one = PreviewedInvoice(made, None, CALM, 50, Decimal(least))
    assert ("below_minimum" in one.warnings) is warned


def test_too_many_lines_are_warned_of() -> None:
    items = [posted(band=f"{n} to {n + 1}", ids=[n]) for n in range(251)]
    assert "too_many_lines" in PreviewedInvoice(draft(*items), None, CALM, 50).warnings


def test_the_change_is_from_last_month_in_major_units() -> None:
    assert PreviewedInvoice(draft(), last_month(2000), CALM, 50).change == Decimal("-0.80")
    assert PreviewedInvoice(draft(), None, CALM, 50).change is None


def test_totals_are_added_up_by_currency() -> None:
    made = [draft(), draft(currency="EUR"), draft(customer="b")]
    invoices = [PreviewedInvoice(one, None, CALM, 50) for one in made]
    preview = Preview(Period(2026, 10), True, invoices, (), Unsettled())
    assert total_by_currency(preview) == {"USD": Decimal("38.40"), "EUR": Decimal("19.20")}
