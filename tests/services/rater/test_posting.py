"""I4: after every posting, the line items of a charge and month add up to f(quantity)."""

from collections.abc import Iterable
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.rater.metering import UsageKey
from services.rater.posting import LineItem, line_items, usage_line_items
from services.rater.pricing import Band, MeteredCharge, price_quantity
from services.rater.terms import Contract, PostingState
from tests.services.rater.factories import contract, graduated_charge, unit_charge
from tests.services.rater.test_difference import charges, gathered

OPEN = PostingState(1, frozenset())
KEY = UsageKey("con_1", "2026-10", "executions", "", "")


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

    def add(self, key: UsageKey, quantity: Decimal, state: PostingState = OPEN) -> None:
        self.totals[key] = self.totals.get(key, Decimal(0)) + quantity
        contracts = {self.contract.id: self.contract}
        self.items += usage_line_items({key: quantity}, self.totals, contracts, state)


@given(charges(), st.lists(st.decimals(-50, 100, places=3), max_size=8))
def test_line_items_add_up_to_the_price_of_the_total(
    charge: MeteredCharge, additions: list[Decimal]
) -> None:
    books = Books(contract(charge))
    # What is due without usage is posted when the month opens, not by usage.
    opening = price_quantity(charge, Decimal(0))
    for quantity in additions:
        books.add(KEY, quantity)
        posted = [*opening, *bands_of(books.items, charge.code)]
        assert gathered(posted) == gathered(price_quantity(charge, books.totals[KEY]))


@given(charges(), st.lists(st.decimals(0, 100, places=3), max_size=6))
def test_months_are_priced_each_for_itself(charge: MeteredCharge, added: list[Decimal]) -> None:
    books = Books(contract(charge))
    keys = [KEY, KEY._replace(usage_period="2026-11")]
    for turn, quantity in enumerate(added):
        books.add(keys[turn % 2], quantity)
    for key in keys:
        posted = bands_of(
            (i for i in books.items if i.usage_period == key.usage_period), charge.code
        )
        opening = price_quantity(charge, Decimal(0))
        total = books.totals.get(key, Decimal(0))
        assert gathered([*opening, *posted]) == gathered(price_quantity(charge, total))


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
    books.add(KEY, Decimal(0))
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


def test_a_correction_names_what_it_corrects() -> None:
    bands = [Band("all", Decimal(-1), Decimal(2), Decimal(-2))]
    (item,) = line_items(contract(), "executions", bands, "2026-10", OPEN, "adjustment", 7)
    assert (item.kind, item.corrects, item.amount) == ("adjustment", 7, Decimal(-2))
