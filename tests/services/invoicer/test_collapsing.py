"""An invoice of too many lines becomes one of fewer by the first rule that fits; nothing lost."""

import csv
import hashlib
import io
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.building import Draft, Posted, build_draft
from services.invoicer.carrying import Carried
from services.invoicer.detailing import detail_csv, file_sha256
from tests.services.invoicer.factories import CONTRACTS, draft, fee, key, posted

MOST = 6


@st.composite
def postings(draw: st.DrawFn) -> list[Posted]:
    """Make line items of so many kinds that six lines hold them only when collapsed."""
    return [
        posted(
            str(draw(st.integers(-50, 50))),
            str(draw(st.sampled_from(["0.001", "0.0125", "0.3333"]))),
            ids=[number],
            contract_id=draw(st.sampled_from(sorted(CONTRACTS))),
            charge=draw(st.sampled_from(["executions", "tokens", "subscription"])),
            band=draw(st.sampled_from(["all", "0 to 50", "over 50"])),
            kind=draw(st.sampled_from(["usage", "recurring", "adjustment"])),
            usage_period=draw(st.sampled_from(["2026-08", "2026-09", "2026-10"])),
        )
        for number in range(draw(st.integers(0, 40)))
    ]


def exact(values: list[Decimal]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0))


def made_of(items: list[Posted], carried: int = 0, most: int = MOST) -> Draft:
    amounts = [Carried(f"inv_{n}", f"2026-0{n + 1}", n - 1) for n in range(carried)]
    return build_draft(key(), items, CONTRACTS, amounts, most_lines=most)


@given(postings(), st.integers(0, 3))
def test_it_fits_and_no_digit_and_no_line_item_is_lost(items: list[Posted], carried: int) -> None:
    made = made_of(items, carried)
    assert len(made.lines) <= MOST
    assert [line.position for line in made.lines] == list(range(1, len(made.lines) + 1))
    assert sorted(made.placed) == [item.ids[0] for item in items]
    own = [line for line in made.lines if line.kind != "carried_forward"]
    assert exact([line.exact_amount for line in own]) == exact([item.amount for item in items])
    for line in own:
        there = [item for item in items if made.placed[item.ids[0]] == line.position]
        assert exact([item.amount for item in there]) == Fraction(line.exact_amount)
        assert abs(Fraction(line.amount_minor) - Fraction(line.exact_amount) * 100) <= Fraction(
            1, 2
        )
    assert sorted(made.carried.values()) == [
        line.position for line in made.lines if line.kind == "carried_forward"
    ]


@given(postings(), st.integers(0, 3))
def test_the_detail_file_adds_up_to_each_line(items: list[Posted], carried: int) -> None:
    made = made_of(items, carried)
    text = detail_csv(made.details, "USD")
    rows = list(csv.DictReader(io.StringIO(text)))
    for line in made.lines:
        of_line = [
            Decimal(row["exact_amount"]) for row in rows if row["line"] == str(line.position)
        ]
        assert of_line
        assert exact(of_line) == Fraction(line.exact_amount)
    assert {row["line"] for row in rows} == {str(line.position) for line in made.lines}
    if made.detail_sha256 is not None:
        assert made.detail_sha256 == hashlib.sha256(text.encode()).hexdigest()
        assert made.wording.footer is not None
        assert made.detail_sha256 in made.wording.footer


@given(postings())
def test_what_fits_is_left_as_it_is_and_its_details_are_its_lines(items: list[Posted]) -> None:
    free = made_of(items, most=1000)
    assert free.detail_sha256 is None
    tight = made_of(items)
    if len(free.lines) <= MOST:
        assert tight == free
    else:
        assert tight.detail_sha256 is not None
        assert sorted(one.exact_amount for one in tight.details) == sorted(
            line.exact_amount for line in free.lines
        )


@given(st.data())
def test_the_order_of_line_items_makes_no_difference(data: st.DataObject) -> None:
    items = data.draw(postings())
    assert made_of(items) == made_of(data.draw(st.permutations(items)))


def many(charges: int, months: int, bands: int, contracts: int = 1) -> list[Posted]:
    """Make a unit at $1 of each band, in each month, of each charge, of each contract."""
    numbers = iter(range(10_000))
    return [
        posted(
            "1",
            "1",
            ids=[next(numbers)],
            contract_id=contract,
            charge=f"charge {charge}",
            usage_period=f"2026-{11 - month:02d}",
            band=f"band {band}",
        )
        for contract in sorted(CONTRACTS)[:contracts]
        for charge in range(charges)
        for month in range(1, months + 1)
        for band in range(bands)
    ]


@pytest.mark.parametrize(
    ("items", "lines", "first"),
    [
        (many(2, 3, 1), 6, "byok_pro · charge 0 · band 0 · late usage of 2026-08 · 1 × $1.00"),
        (many(2, 3, 2), 6, "byok_pro · charge 0 · late usage of 2026-08 · 2 lines of the detail"),
        (many(3, 3, 2), 3, "byok_pro · charge 0 · 2026-08 to 2026-10 · 6 lines of the detail"),
        (many(4, 2, 1, contracts=2), 2, "basic · all usage · 2026-09 to 2026-10 · 8 lines"),
    ],
)
def test_the_first_rule_that_fits_is_taken(items: list[Posted], lines: int, first: str) -> None:
    made = made_of(items)
    assert len(made.lines) == lines
    assert made.lines[0].description.startswith(first)


def test_fees_stand_apart_from_usage_to_the_last() -> None:
    made = made_of(
        [*many(2, 1, 2), fee(ids=[900]), fee("7", ids=[901], contract_id="con_new")], 0, 2
    )
    assert [(line.kind, line.exact_amount) for line in made.lines] == [
        ("recurring", Decimal(26)),
        ("usage", Decimal(4)),
    ]
    assert [line.description for line in made.lines] == [
        "all contracts · subscription · 2 lines of the detail file (exact 26)",
        "byok_pro · all usage · 4 lines of the detail file (exact 4)",
    ]


def test_a_collapsed_line_is_rounded_once() -> None:
    """Ten lines of 0.4 cents are 4 cents together; by themselves they would be nothing."""
    items = [posted("1", "0.004", ids=[n], band=f"band {n}") for n in range(10)]
    assert [line.amount_minor for line in made_of(items).lines] == [4]


def test_251_lines_are_collapsed_and_250_are_not() -> None:
    items = [posted(band=f"{n} to {n + 1}", ids=[n]) for n in range(251)]
    assert len(draft(*items[:250]).lines) == 250
    (line,) = draft(*items).lines
    assert line.band == "251 lines"


def test_the_file_is_the_same_to_the_byte() -> None:
    details = draft(posted("12.50", "0.0020"), fee(ids=[2])).details
    text = (
        "line,contract,plan,charge,band,kind,usage_period,quantity,unit_price,exact_amount,"
        "currency\r\n"
        "1,con_old,basic,subscription,whole month,recurring,2026-10,1,19,19,USD\r\n"
        "2,con_old,basic,executions,all,usage,2026-10,12.5,0.002,0.025,USD\r\n"
    )
    assert detail_csv(details, "USD") == text
    assert file_sha256(text) == hashlib.sha256(text.encode()).hexdigest()
