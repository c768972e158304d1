"""An invoice's state follows from what Stripe says of it now, and from the clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.following.standing import FOLLOWED, standing
from services.invoicer.stripe_objects import StripeInvoice, StripeLines

DUE = datetime(2026, 12, 1, tzinfo=UTC)
STATUSES = ("draft", "open", "paid", "void", "uncollectible")


def theirs(status: str, due: datetime | None = DUE) -> StripeInvoice:
    seconds = None if due is None else int(due.timestamp())
    return StripeInvoice(
        "in_1", status, "usd", "cus_1", 100, 100, 0, StripeLines([]), due_date=seconds
    )


@pytest.mark.parametrize(
    ("state", "status", "after_due", "expected"),
    [
        ("finalized", "open", -1, "finalized"),
        ("finalized", "open", 1, "overdue"),
        ("sent", "open", -1, "sent"),
        ("sent", "open", 1, "overdue"),
        ("overdue", "open", -1, "finalized"),
        ("overdue", "paid", 1, "paid"),
        ("finalized", "paid", -1, "paid"),
        ("paid", "open", -1, "finalized"),
        ("finalized", "void", -1, "void"),
        ("overdue", "uncollectible", 1, "uncollectible"),
        ("uncollectible", "paid", 1, "paid"),
        ("finalized", "draft", 1, "finalized"),
    ],
)
def test_the_state_that_follows(state: str, status: str, after_due: int, expected: str) -> None:
    assert standing(state, theirs(status), DUE + timedelta(days=after_due)) == expected


def test_without_a_due_date_nothing_is_overdue() -> None:
    assert standing("finalized", theirs("open", None), DUE + timedelta(days=900)) == "finalized"


@given(st.lists(st.sampled_from(FOLLOWED)), st.sampled_from(STATUSES[1:]), st.integers(-9, 9))
def test_what_came_before_makes_no_difference(before: list[str], status: str, days: int) -> None:
    now = DUE + timedelta(days=days)
    states = {standing(state, theirs(status), now) for state in before}
    assert len(states - {"sent"}) <= 1
    assert all(standing(state, theirs(status), now) == state for state in states)
