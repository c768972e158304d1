"""The state of an event follows from what is known of it."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.ingest.whereabouts.deciding import (
    Item,
    Letter,
    OtherVersion,
    Stored,
    Voided,
    Whereabouts,
)
from services.ingest.whereabouts.documents import event_document
from services.ingest.whereabouts.sources import Source

AT = datetime(2026, 10, 3, 12, tzinfo=UTC)
ITEM = Item(
    1, "executions", "all", Decimal(2), Decimal("0.5"), Decimal("1.0"), "USD", "2026-10",
    "2026-10", "usage", None, None,
)  # fmt: skip
ON_INVOICE = replace(ITEM, id=2, invoice="inv_1", invoice_line=1)
WAITING = Stored("acme", "job", AT, AT, AT, 0, 5, None, None, False, True, None)
RATED = replace(WAITING, contract_id="c1", plan="p@1", customer_known=True, items=[ITEM])
OPEN = OtherVersion(1, "acme", "open", AT)
LETTER = Letter(3, "acme", "too_old", "too old", "/time", "open", AT)


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ({}, "unknown"),
        ({"stored": WAITING}, "accepted"),
        ({"stored": RATED}, "rated"),
        ({"stored": replace(RATED, items=[])}, "rated"),
        ({"stored": replace(RATED, items=[ITEM, ON_INVOICE])}, "invoiced"),
        ({"stored": RATED, "conflicts": [OPEN]}, "conflict"),
        ({"stored": RATED, "conflicts": [replace(OPEN, state="kept")]}, "rated"),
        ({"letters": [LETTER]}, "dead_letter"),
        ({"letters": [replace(LETTER, state="discarded")]}, "dead_letter"),
        ({"letters": [replace(LETTER, state="replayed")]}, "accepted"),
        ({"letters": [LETTER, replace(LETTER, state="replayed")]}, "dead_letter"),
        ({"stored": RATED, "letters": [LETTER]}, "rated"),
    ],
)
def test_the_state(known: dict[str, object], state: str) -> None:
    assert Whereabouts("s", "1", **known).state == state  # type: ignore[arg-type]


def test_what_it_waits_for() -> None:
    assert WAITING.waiting_for == "customer"
    assert replace(WAITING, customer_known=True).waiting_for == "contract"
    assert RATED.waiting_for is None
    assert replace(WAITING, voided=Voided(AT, "ann", "a test")).waiting_for is None


def test_a_key_for_other_customers_learns_nothing() -> None:
    found = Whereabouts("s", "1", RATED, [OPEN], [LETTER, replace(LETTER, customer_id=None)])
    assert found.seen_by(frozenset()) is found
    assert found.seen_by(frozenset({"acme"})).letters == [LETTER]
    assert event_document(found.seen_by(frozenset({"bob"}))) == event_document(
        Whereabouts("s", "1")
    )


def test_what_costs_nothing_says_so() -> None:
    assert Whereabouts("s", "1", RATED).note is None
    assert "no charge" in (Whereabouts("s", "1", replace(RATED, counted=False)).note or "")
    voided = replace(RATED, voided=Voided(AT, "ann", "a test"))
    assert "voided" in (Whereabouts("s", "1", voided).note or "")


def test_repeats_are_no_rejections() -> None:
    source = Source("s", not_taken={"duplicate": 3, "too_old": 1})
    assert (source.duplicates, source.rejected) == (3, {"too_old": 1})
