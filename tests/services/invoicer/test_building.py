"""An invoice is its line items added up: each on one line, and each line rounded once."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.building import ContractFacts, Posted, build_draft
from shared.money import round_to_minor
from tests.services.invoicer.factories import CONTRACTS, amounts, draft, fee, fee_back, key, posted

AMOUNTS = st.decimals(-10_000, 10_000, places=12)
QUANTITIES = st.decimals(-10_000, 10_000, places=6)


@st.composite
def postings(draw: st.DrawFn) -> list[Posted]:
    """Make line items, one each, of a few contracts, charges, bands, kinds and months."""
    count = draw(st.integers(0, 40))
    return [
        Posted(
            [number],
            draw(st.sampled_from(sorted(CONTRACTS))),
            draw(st.sampled_from(["executions", "subscription"])),
            draw(st.sampled_from(["all", "0 to 50000", "over 50000"])),
            draw(st.sampled_from(["usage", "recurring", "adjustment"])),
            draw(st.sampled_from(["2026-09", "2026-10"])),
            draw(QUANTITIES),
            draw(st.sampled_from([Decimal("0.002"), Decimal("0.0020"), Decimal("0.001")])),
            draw(AMOUNTS),
        )
        for number in range(count)
    ]


def _exact(values: list[Decimal]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0))


@given(postings())
def test_every_line_item_is_placed_once_and_no_digit_is_lost(items: list[Posted]) -> None:
    made = build_draft(key(), items, CONTRACTS)
    assert sorted(made.placed) == [item.ids[0] for item in items]
    assert _exact([line.exact_amount for line in made.lines]) == _exact([i.amount for i in items])
    for line in made.lines:
        there = [item for item in items if made.placed[item.ids[0]] == line.position]
        assert _exact([item.amount for item in there]) == Fraction(line.exact_amount)
        assert _exact([item.quantity for item in there]) == Fraction(line.quantity)
    assert [line.position for line in made.lines] == list(range(1, len(made.lines) + 1))


@given(postings())
def test_each_line_is_rounded_once_half_away_from_zero(items: list[Posted]) -> None:
    made = build_draft(key(), items, CONTRACTS)
    for line in made.lines:
        cents = Fraction(line.exact_amount) * 100
        whole = int(abs(cents) + Fraction(1, 2))
        assert line.amount_minor == (whole if cents > 0 else -whole)
    assert made.total_minor == sum(amounts(made))


@given(st.data())
def test_the_order_of_line_items_makes_no_difference(data: st.DataObject) -> None:
    items = data.draw(postings())
    shuffled = data.draw(st.permutations(items))
    one, other = (build_draft(key(), some, CONTRACTS) for some in (items, shuffled))
    assert one.lines == other.lines
    assert one.placed == other.placed


@given(st.data())
def test_adding_line_items_up_beforehand_makes_no_difference(data: st.DataObject) -> None:
    items = data.draw(postings())
    by_line: dict[tuple[object, ...], list[Posted]] = {}
    for item in items:
        same = (item.contract_id, item.charge, item.band, item.kind, item.usage_period)
        by_line.setdefault((*same, item.unit_price), []).append(item)
    together = [
        Posted(
            [number for one in some for number in one.ids],
            some[0].contract_id,
            some[0].charge,
            some[0].band,
            some[0].kind,
            some[0].usage_period,
            sum((one.quantity for one in some), Decimal(0)),
            some[0].unit_price,
            sum((one.amount for one in some), Decimal(0)),
        )
        for some in by_line.values()
    ]
    one, other = (build_draft(key(), some, CONTRACTS) for some in (items, together))
    assert one.lines == other.lines
    assert one.placed == other.placed


def test_what_differs_in_anything_but_kind_is_a_line_of_its_own() -> None:
    base = posted()
    others = [
        posted(contract_id="con_new"),
        posted(charge="tokens"),
        posted(band="over 50000"),
        posted(usage_period="2026-09"),
        posted(price="0.001"),
    ]
    assert len(draft(base, *others).lines) == 6
    assert len(draft(base, posted(ids=[2]), posted(price="0.0020", ids=[3])).lines) == 1


def test_an_adjustment_stands_on_the_line_that_it_adjusts_and_is_rounded_with_it() -> None:
    """The same as if that had been so from the start: not a cent off."""
    usage = [posted("7", kind="usage"), posted("-4", ids=[2], kind="adjustment")]
    made = draft(*usage)
    assert made.lines == draft(posted("3")).lines
    assert amounts(made) == [1]
    assert [round_to_minor(item.amount, "USD") for item in usage] == [1, -1]


def test_a_fee_that_was_taken_back_is_not_shown() -> None:
    made = draft(
        fee(ids=[1]),
        fee_back(ids=[2]),
        fee("9.5", ids=[3], band="days 1 to 15 of 30", kind="adjustment"),
    )
    assert [(line.band, line.kind) for line in made.lines] == [("days 1 to 15 of 30", "adjustment")]
    assert made.placed == {1: None, 2: None, 3: 1}


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        (["usage"], "usage"),
        (["adjustment"], "adjustment"),
        (["adjustment", "adjustment"], "adjustment"),
        (["adjustment", "usage"], "usage"),
        (["recurring", "adjustment"], "recurring"),
        (["usage", "recurring"], "recurring"),
    ],
)
def test_a_line_is_an_adjustment_only_where_all_its_line_items_are(
    kinds: list[str], kind: str
) -> None:
    (line,) = draft(*(posted(ids=[number], kind=one) for number, one in enumerate(kinds))).lines
    assert line.kind == kind


def test_an_adjusted_fee_stands_before_usage_still() -> None:
    made = draft(
        posted(charge="a"),
        fee("5", charge="z", band="days 1 to 15 of 30", ids=[2], kind="adjustment"),
        fee("10", charge="z", ids=[3]),
        fee_back("10", charge="z", ids=[4]),
    )
    assert [(line.charge, line.kind) for line in made.lines] == [
        ("z", "adjustment"),
        ("a", "usage"),
    ]


def test_what_comes_to_nothing_is_on_the_invoice_but_not_shown() -> None:
    made = draft(posted(ids=[1]), posted("-100", ids=[2]), fee(ids=[3]))
    assert [line.charge for line in made.lines] == ["subscription"]
    assert made.placed == {1: None, 2: None, 3: 1}


def test_usage_that_costs_nothing_is_shown() -> None:
    made = draft(posted("5", "0"))
    assert [(line.quantity, line.amount_minor) for line in made.lines] == [(Decimal(5), 0)]


def test_lines_stand_by_contract_in_time_then_month_fees_first_and_bands_as_numbers() -> None:
    made = draft(
        posted(contract_id="con_new", band="over 100000", price="1"),
        posted(contract_id="con_new", band="50000 to 100000", price="2"),
        posted(contract_id="con_new", band="0 to 50000", price="3"),
        fee(contract_id="con_new"),
        posted(contract_id="con_old"),
        posted(contract_id="con_old", usage_period="2026-09"),
    )
    assert [(line.contract_id, line.usage_period, line.band) for line in made.lines] == [
        ("con_old", "2026-09", "all"),
        ("con_old", "2026-10", "all"),
        ("con_new", "2026-10", "whole month"),
        ("con_new", "2026-10", "0 to 50000"),
        ("con_new", "2026-10", "50000 to 100000"),
        ("con_new", "2026-10", "over 100000"),
    ]


def test_free_units_stand_first_and_what_has_no_quantity_last() -> None:
    bands = ["maximum spend", "minimum spend", "discount 10 %", "over 10", "0 to 10", "free"]
    made = draft(*(posted(band=band, ids=[number]) for number, band in enumerate(bands)))
    assert [line.band for line in made.lines] == [
        "free",
        "0 to 10",
        "over 10",
        "discount 10 %",
        "minimum spend",
        "maximum spend",
    ]


def test_an_amount_larger_than_floats_can_hold_stays_exact() -> None:
    huge = Decimal("12345678901234567890.123456789012")
    made = draft(posted(amount=huge), posted(amount=Decimal("0.000000000001"), ids=[2]))
    assert made.lines[0].exact_amount == Decimal("12345678901234567890.123456789013")
    assert made.total_minor == 1234567890123456789012


@pytest.mark.parametrize(("currency", "minor"), [("USD", 1013), ("JPY", 10), ("KWD", 10130)])
def test_a_line_is_rounded_to_the_minor_unit_of_its_currency(currency: str, minor: int) -> None:
    made = draft(posted(amount=Decimal("10.125")), currency=currency)
    assert made.total_minor == minor


def test_contracts_that_start_together_have_an_order_too() -> None:
    starts = datetime(2026, 10, 1, tzinfo=UTC)
    facts = {name: ContractFacts("solo", starts) for name in ("con_b", "con_a")}
    items = [posted(contract_id="con_b"), posted(contract_id="con_a", ids=[2])]
    made = build_draft(key(), items, facts)
    assert [line.contract_id for line in made.lines] == ["con_a", "con_b"]
