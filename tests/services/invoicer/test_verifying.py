"""Nothing is finalized that is not equal to ours in everything that has a meaning (I9)."""

from dataclasses import replace
from typing import Any

import pytest

from services.invoicer.building import Draft, build_draft
from services.invoicer.carrying import Carried, Minimums
from services.invoicer.stripe_objects import StripeAmount
from services.invoicer.verifying import complaints, first_state
from services.invoicer.wording import About
from tests.services.invoicer.factories import (
    CONTRACTS,
    at_stripe,
    draft,
    frozen,
    key,
    lines_at_stripe,
    posted,
    token_cost,
)

OURS = draft()


def test_an_equal_invoice_raises_no_complaint() -> None:
    assert complaints(frozen(OURS), at_stripe(OURS), lines_at_stripe(OURS)) == []


def test_the_order_of_the_lines_at_stripe_makes_no_difference() -> None:
    assert complaints(frozen(OURS), at_stripe(OURS), lines_at_stripe(OURS)[::-1]) == []


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"customer": "cus_2"}, "the customer at Stripe is cus_2, ours is cus_1"),
        ({"currency": "eur"}, "the currency at Stripe is EUR, ours is USD"),
        ({"subtotal": 1}, "the subtotal at Stripe is 1"),
        ({"total": 1}, "the total at Stripe is 1"),
        ({"metadata": None}, "the billing key at Stripe is None"),
        ({"metadata": {"billing_key": "acme:2026-10:USD:monthly:1"}}, "hash of the payload"),
        ({"total_discount_amounts": [StripeAmount(5)]}, "discount"),
        ({"total_taxes": [StripeAmount(5)]}, "tax"),
    ],
)
def test_a_difference_in_the_head_is_named(changed: dict[str, Any], complaint: str) -> None:
    found = complaints(frozen(OURS), at_stripe(OURS, **changed), lines_at_stripe(OURS))
    assert any(complaint in one for one in found)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"amount": 1}, "the amount of line 1 at Stripe is 1, ours is 1900"),
        ({"currency": "eur"}, "the currency of line 1"),
        ({"description": "other"}, "the description of line 1"),
        ({"metadata": {"position": "1"}}, "the metadata of line 1 at Stripe differ in charge"),
        ({"discount_amounts": [StripeAmount(1)]}, "line 1 has a discount"),
        ({"taxes": [StripeAmount(1)]}, "line 1 has a discount or a tax"),
        ({"metadata": {}}, "line 1 is at Stripe 0 times"),
    ],
)
def test_a_difference_in_a_line_is_named(changed: dict[str, Any], complaint: str) -> None:
    first, *rest = lines_at_stripe(OURS)
    found = complaints(frozen(OURS), at_stripe(OURS), [replace(first, **changed), *rest])
    assert any(complaint in one for one in found)


def test_a_missing_a_doubled_and_a_strange_line_are_named() -> None:
    first, second = lines_at_stripe(OURS)
    strange = replace(first, id="il_9", metadata={"position": "9"})
    for lines, complaint in [
        ([first], "line 2 is at Stripe 0 times"),
        ([first, second, second], "line 2 is at Stripe 2 times"),
        ([first, second, strange], "a line that is not ours (position 9)"),
        ([first, strange], "a line that is not ours (position 9)"),
    ]:
        found = complaints(frozen(OURS), at_stripe(OURS), lines)
        assert any(complaint in one for one in found)


def test_more_metadata_than_ours_is_no_fault() -> None:
    first, *rest = lines_at_stripe(OURS)
    more = replace(first, metadata={**first.metadata, "note": "by hand"})
    assert complaints(frozen(OURS), at_stripe(OURS), [more, *rest]) == []


@pytest.mark.parametrize(
    ("of", "state", "note"),
    [
        (draft(), "frozen", None),
        (draft(posted("5", "0")), "skipped_zero", "nothing is due"),
        (
            draft(posted("-5", "1")),
            "carried_forward",
            "the total is a credit: the next invoice takes it up",
        ),
        (
            draft(posted("49", "0.01")),
            "carried_forward",
            "the total is below 0.50 USD: the next invoice takes it up",
        ),
        (draft(posted("50", "0.01")), "frozen", None),
        (draft(posted("1", "0.01"), currency="CLP"), "skipped_zero", "nothing is due"),
        (draft(posted("1", "1"), currency="CLP"), "frozen", None),
    ],
)
def test_an_invoice_is_frozen_to_be_sent_skipped_or_carried_forward(
    of: Draft, state: str, note: str | None
) -> None:
    assert first_state(of, Minimums.read(None)) == (state, note)


def test_ones_own_minimum_stands_in_the_place_of_stripes() -> None:
    minimums = Minimums.read("USD=0, CLP=100")
    assert first_state(draft(posted("1", "0.01")), minimums)[0] == "frozen"
    assert first_state(draft(posted("99", "1"), currency="CLP"), minimums)[0] == "carried_forward"


def test_an_invoice_with_more_amounts_carried_to_it_than_stripe_takes_lines_is_reviewed() -> None:
    carried = [Carried(f"inv_{n}", "2026-09", 100) for n in range(251)]
    state, reason = first_state(build_draft(key(), [], CONTRACTS, carried), Minimums.read(None))
    assert (state, reason) == ("needs_review", "it has 251 lines: Stripe takes 250")


WORDED = draft(about=About("PO-7", "DE123456789", [token_cost()]))


def test_words_that_are_not_ours_are_named() -> None:
    assert complaints(frozen(WORDED), at_stripe(WORDED), lines_at_stripe(WORDED)) == []
    for changed, complaint in (
        ({"footer": None}, "the footer at Stripe is None"),
        ({"custom_fields": None}, "the custom fields at Stripe is ()"),
    ):
        theirs = at_stripe(WORDED, **changed)
        found = complaints(frozen(WORDED), theirs, lines_at_stripe(WORDED))
        assert [one[: len(complaint)] for one in found] == [complaint]


def test_words_of_stripes_own_where_we_have_none_are_no_fault() -> None:
    theirs = at_stripe(OURS, footer="as set up at Stripe")
    assert complaints(frozen(OURS), theirs, lines_at_stripe(OURS)) == []
