"""A preview says what to look at before anything is sent."""

from decimal import Decimal

import pytest

from services.invoicer.building import Draft
from services.invoicer.previewing import LastMonth, Preview, PreviewedInvoice, total_by_currency
from shared.periods import Period
from tests.services.invoicer.factories import draft, fee, posted


def last_month(total_minor: int, quantity: str = "100") -> LastMonth:
    return LastMonth("acme", "USD", total_minor, Decimal(quantity))


@pytest.mark.parametrize(
    ("made", "last", "warnings"),
    [
        (draft(), None, ["first_invoice"]),
        (draft(), last_month(1920), []),
        (draft(), last_month(1281), []),
        (draft(), last_month(1279), ["jump"]),
        (draft(), last_month(3840), []),
        (draft(), last_month(3842), ["jump"]),
        (draft(), last_month(0, "0"), ["jump"]),
        (draft(posted("1", "0")), last_month(0), ["nothing_due"]),
        (draft(posted("-1", "1")), last_month(-100), ["negative_total"]),
        (draft(fee()), last_month(1900), ["usage_stopped"]),
        (draft(fee()), last_month(1900, "0"), []),
    ],
)
def test_warnings(made: Draft, last: LastMonth | None, warnings: list[str]) -> None:
    assert PreviewedInvoice(made, last).warnings == warnings


def test_too_many_lines_are_warned_of() -> None:
    items = [posted(band=f"{n} to {n + 1}", ids=[n]) for n in range(251)]
    assert "too_many_lines" in PreviewedInvoice(draft(*items), None).warnings


def test_the_change_is_from_last_month_in_major_units() -> None:
    assert PreviewedInvoice(draft(), last_month(2000)).change == Decimal("-0.80")
    assert PreviewedInvoice(draft(), None).change is None


def test_totals_are_added_up_by_currency() -> None:
    made = [draft(), draft(currency="EUR"), draft(customer="b")]
    invoices = [PreviewedInvoice(one, None) for one in made]
    preview = Preview(Period(2026, 10), True, invoices, (), 0)
    assert total_by_currency(preview) == {"USD": Decimal("38.40"), "EUR": Decimal("19.20")}
