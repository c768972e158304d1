"""I4: after every posting, the line items of a charge and month add up to f(quantity)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.posting import (
    LineItem,
    Posted,
    kind_of,
    line_items,
    owed_line_items,
    usage_line_items,
)
from services.rater.pricing import Band, Charge, RecurringCharge, difference, price
from services.rater.tallying import UsageKey
from services.rater.terms import Contract, PostingState
from shared.periods import Period
from tests.services.rater.factories import (
    WHOLE,
    contract,
    graduated_charge,
    unit_charge,
    volume_charge,
)
from tests.services.rater.strategies import FINE, TENTHS, THOROUGH, Grid, quantities_at
from tests.services.rater.test_difference import charges, gathered

OPEN = PostingState(1, frozenset())
KEY = UsageKey("con_1", "2026-10", "executions", "", "")
PERIOD = Period(2026, 10)
ZERO = Decimal(0)

INSTANTS = st.none() | st.integers(-3, 34).map(
    lambda days: PERIOD.start + timedelta(days=days, hours=13)
)


def bands_of(items: Iterable[LineItem], charge: str) -> list[Band]:
    return [
        Band(item.band, item.quantity, item.unit_price, item.amount)
        for item in items
        if item.charge == charge
    ]


class Books:
    """Running totals and line items of one contract, as Postgres would hold them."""

    def __init__(self, of: Contract) -> None:
        self.contract = of
        self.totals: dict[UsageKey, Decimal] = {}
        self.items: list[LineItem] = []

    def open(self, key: UsageKey = KEY) -> None:
        """Post what is due without usage, as is done when the month opens."""
        coverage = self.contract.coverage(Period.parse(key.usage_period))
        assert coverage is not None
        for charge in self.contract.charges:
            bands = price(charge, ZERO, coverage)
            self.items += line_items(
                self.contract, charge.code, bands, key.usage_period, OPEN, kind_of(charge)
            )

    def add(self, key: UsageKey, quantity: Decimal, state: PostingState = OPEN) -> None:
        before = self.totals.get(key, ZERO)
        self.totals[key] = before + quantity
        contracts = {self.contract.id: self.contract}
        self.items += usage_line_items({key: (before, self.totals[key])}, contracts, state)

    def posted(self) -> dict[str, Posted]:
        """Read the month's line items back, by charge."""
        found: dict[str, Posted] = {}
        for number, item in enumerate(self.items, 1):
            if item.usage_period == str(PERIOD):
                (band,) = bands_of([item], item.charge)
                found.setdefault(item.charge, Posted()).add(band, number)
        return found


@THOROUGH
@given(st.sampled_from([TENTHS, FINE]), st.data())
def test_line_items_add_up_to_the_price_of_the_total_however_it_is_split(
    grid: Grid, data: st.DataObject
) -> None:
    charge = data.draw(charges(grid))
    whole = data.draw(quantities_at(charge, grid))
    cuts = data.draw(st.lists(st.integers(0, grid.steps(whole)), max_size=5).map(sorted))
    edges = [ZERO, *map(grid.quantity, cuts), whole]
    books = Books(contract(charge))
    books.open()
    for start, end in pairwise(edges):
        books.add(KEY, end - start)
        target = price(charge, end, WHOLE)
        assert gathered(bands_of(books.items, charge.code)) == gathered(target)
    assert books.totals[KEY] == whole


@given(charges(), st.lists(st.decimals(0, 100, places=1), max_size=6))
def test_months_are_priced_each_for_itself(charge: Charge, added: list[Decimal]) -> None:
    of = contract(charge)
    books = Books(of)
    keys = [KEY, KEY._replace(usage_period="2026-11")]
    for key in keys:
        books.open(key)
    for turn, quantity in enumerate(added):
        books.add(keys[turn % 2], quantity)
    for key in keys:
        posted = [item for item in books.items if item.usage_period == key.usage_period]
        coverage = of.coverage(Period.parse(key.usage_period))
        assert coverage is not None
        target = price(charge, books.totals.get(key, ZERO), coverage)
        assert gathered(bands_of(posted, charge.code)) == gathered(target)


def owed(of: Contract, total: Decimal, posted: dict[str, Posted]) -> list[LineItem]:
    return list(owed_line_items(of, PERIOD, {KEY: total}, posted, OPEN))


@THOROUGH
@given(st.lists(charges(), min_size=1, max_size=2), INSTANTS, INSTANTS, st.data())
def test_whatever_stands_posted_is_brought_to_the_price_and_then_nothing_is_owed(
    wrong: list[Charge], starts_at: datetime | None, ends_at: datetime | None, data: st.DataObject
) -> None:
    """Bands of other terms, of other quantities, twice over or half taken back."""
    charge = data.draw(charges())
    quantity = data.draw(quantities_at(charge))
    books = Books(contract(charge))
    for other in wrong:
        bands = price(other, data.draw(quantities_at(other)), WHOLE)
        bands += difference(bands, bands[1:])
        books.items += line_items(contract(), charge.code, bands, str(PERIOD), OPEN, "usage")
    starts = starts_at or PERIOD.start
    now = contract(charge, starts_at=starts, ends_at=ends_at and max(ends_at, starts))
    books.items += owed(now, quantity, books.posted())

    coverage = now.coverage(PERIOD)
    target = [] if coverage is None else price(charge, quantity, coverage)
    assert gathered(bands_of(books.items, charge.code)) == gathered(target)
    assert owed(now, quantity, books.posted()) == []


@given(charges(), st.data())
def test_nothing_is_owed_where_all_was_posted_as_it_came(
    charge: Charge, data: st.DataObject
) -> None:
    books = Books(contract(charge))
    books.open()
    for quantity in data.draw(st.lists(st.decimals(0, 20, places=1), max_size=4)):
        books.add(KEY, quantity)
    assert owed(books.contract, books.totals.get(KEY, ZERO), books.posted()) == []


def test_every_charge_on_a_meter_is_posted_and_no_other() -> None:
    books = Books(contract(unit_charge("2", "a"), graduated_charge((None, "3", "0"), code="b")))
    books.add(KEY, Decimal(5))
    books.add(KEY._replace(meter="input_tokens"), Decimal(1_000))
    assert {(item.charge, item.amount) for item in books.items} == {
        ("a", Decimal(10)),
        ("b", Decimal(15)),
    }


def test_a_quantity_by_dimension_is_for_reading_and_posts_nothing() -> None:
    books = Books(contract())
    books.add(KEY._replace(dimension="model", value="claude-sonnet-4"), Decimal(5))
    books.add(KEY, ZERO)
    assert books.items == []


def test_a_line_item_says_all_that_an_invoice_needs() -> None:
    books = Books(contract(unit_charge("0.002")))
    books.add(KEY, Decimal(1_000))
    assert books.items == [
        LineItem(
            batch_id=1,
            customer_id="customer-1",
            contract_id="con_1",
            charge="executions",
            band="all",
            quantity=Decimal(1_000),
            unit_price=Decimal("0.002"),
            amount=Decimal(2),
            currency="USD",
            usage_period="2026-10",
            posting_period="2026-10",
            kind="usage",
            corrects=None,
        )
    ]


def test_usage_of_a_closed_month_posts_to_the_open_one_and_says_when_it_was() -> None:
    books = Books(contract())
    books.add(KEY, Decimal(10))
    books.add(KEY, Decimal(5), PostingState(2, frozenset({"2026-10", "2026-11"})))
    assert [(i.usage_period, i.posting_period, i.quantity) for i in books.items] == [
        ("2026-10", "2026-10", Decimal(10)),
        ("2026-10", "2026-12", Decimal(5)),
    ]


def test_late_usage_takes_its_tier_from_the_month_in_which_it_was() -> None:
    books = Books(contract(graduated_charge(("10", "1", "0"), (None, "0.5", "0"))))
    books.add(KEY, Decimal(9))
    books.add(KEY._replace(usage_period="2026-11"), Decimal(100))
    books.add(KEY, Decimal(3), PostingState(2, frozenset({"2026-10"})))
    assert [(i.band, i.quantity, i.usage_period, i.posting_period) for i in books.items[-2:]] == [
        ("0 to 10", Decimal(1), "2026-10", "2026-11"),
        ("over 10", Decimal(2), "2026-10", "2026-11"),
    ]


def test_a_higher_volume_tier_takes_the_lower_ones_price_back() -> None:
    books = Books(contract(volume_charge(("10", "1", "0"), (None, "0.5", "0"))))
    books.add(KEY, Decimal(10))
    books.add(KEY, Decimal(1))
    assert [(i.band, i.quantity, i.amount) for i in books.items] == [
        ("0 to 10", Decimal(10), Decimal(10)),
        ("0 to 10", Decimal(-10), Decimal(-10)),
        ("over 10", Decimal(11), Decimal("5.5")),
    ]


def test_what_takes_back_across_a_tiers_edge_names_what_it_corrects() -> None:
    books = Books(contract(graduated_charge(("10", "1", "0"), (None, "0.5", "3"))))
    books.open()
    books.add(KEY, Decimal(12))
    items = owed(books.contract, Decimal(9), books.posted())
    assert [(i.band, i.quantity, i.amount, i.kind, i.corrects) for i in items] == [
        ("0 to 10", Decimal(-1), Decimal(-1), "adjustment", 1),
        ("over 10", Decimal(-2), Decimal(-1), "adjustment", 2),
        ("over 10 flat fee", Decimal(-1), Decimal(-3), "adjustment", 3),
    ]


def test_a_new_band_corrects_the_first_line_item_of_its_charge() -> None:
    books = Books(contract(graduated_charge(("10", "1", "0"), (None, "0.5", "0"))))
    books.add(KEY, Decimal(10))
    (item,) = owed(books.contract, Decimal(11), books.posted())
    assert (item.band, item.kind, item.corrects) == ("over 10", "adjustment", 1)


FEE = RecurringCharge(code="fee", amount=Decimal(31))


def test_what_was_never_posted_is_no_adjustment() -> None:
    items = owed(contract(FEE, unit_charge()), Decimal(500), {})
    assert [(i.charge, i.kind, i.corrects, i.amount) for i in items] == [
        ("fee", "recurring", None, Decimal(31)),
        ("executions", "usage", None, Decimal(1)),
    ]


def test_a_contract_that_does_not_touch_the_month_any_more_owes_it_all_back() -> None:
    books = Books(contract(FEE, unit_charge()))
    books.open()
    books.add(KEY, Decimal(500))
    ended = contract(FEE, unit_charge(), ends_at=PERIOD.start)
    items = owed(ended, Decimal(500), books.posted())
    assert [(i.charge, i.amount) for i in items] == [
        ("fee", Decimal(-31)),
        ("executions", Decimal(-1)),
    ]


@pytest.mark.parametrize(
    ("corrects", "expected"),
    [({"": 3, "all": 7}, [7, 3]), ({"": 3}, [3, 3]), ({}, [None, None]), (None, [None, None])],
)
def test_a_correction_names_what_it_corrects(
    corrects: dict[str, int] | None, expected: Sequence[int | None]
) -> None:
    bands = [
        Band("all", Decimal(-1), Decimal(2), Decimal(-2)),
        Band("minimum spend", ZERO, ZERO, Decimal(2)),
    ]
    items = list(
        line_items(contract(), "executions", bands, "2026-10", OPEN, "adjustment", corrects)
    )
    assert [item.corrects for item in items] == expected
    assert {item.kind for item in items} == {"adjustment"}


def test_a_month_that_is_opened_is_at_its_price_without_usage() -> None:
    starts = datetime(2026, 10, 16, tzinfo=UTC)
    books = Books(
        contract(FEE, graduated_charge(("5", "1", "2"), (None, "1", "0")), starts_at=starts)
    )
    books.open()
    assert [(i.charge, i.band, i.amount, i.kind) for i in books.items] == [
        ("fee", "days 16 to 31 of 31", Decimal(16), "recurring"),
        ("tiered", "0 to 5 flat fee", Decimal(2), "usage"),
    ]
