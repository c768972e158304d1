"""A catalogue file is read digit for digit, or refused with the line of every fault."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.catalogue.document import (
    Catalogue,
    InvalidCatalogueError,
    ModelPrice,
    read_catalogue,
)
from services.rater.pricing import GraduatedCharge, UnitCharge
from tests.services.rater.factories import CATALOGUE_FILE, shipped_catalogue

SMALL = """\
meters:
  calls: {event_type: com.example.call, aggregate: count, filter: {status: done, paid: true}}
  units:
    event_type: com.example.call
    aggregate: sum
    property: units
plans:
  metered:
    version: 2
    name: Metered
    currency: EUR
    tokens: included
    charges:
      - code: calls
        model: unit
        meter: calls
        unit_price: 0.1
        components: {work: 0.07, support: 0.03}
      - code: units
        model: graduated
        meter: units
        tiers:
          - {up_to: 10, unit_price: 2.50, flat_fee: 1}
          - {up_to: null, unit_price: 1}
      - {code: fee, model: recurring, amount: 9.90}
discount_schedules:
  loyal:
    version: 1
    charge: calls
    tiers:
      - {up_to: 100, percent_off: 12.5}
      - {up_to: ~, percent_off: 25}
models:
  small-1:
    - {from: 2026-01-01, currency: USD, input_per_million: 0.80, output_per_million: 4}
    - {from: 2026-07-01, currency: USD, input_per_million: 0.40, output_per_million: 2}
"""


def complaints(text: str) -> list[tuple[int, str, str]]:
    """Give line, place and message of every fault."""
    with pytest.raises(InvalidCatalogueError) as caught:
        read_catalogue(text, name="plans.yaml")
    for complaint in caught.value.complaints:
        assert f"plans.yaml, line {complaint.line}: {complaint.place}: " in str(caught.value)
    return [(one.line, one.place, one.message) for one in caught.value.complaints]


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, f"{old!r} must stand once in the file"
    return SMALL.replace(old, new)


def line_of(part: str) -> int:
    """Find the line of the unchanged file on which a part stands."""
    return SMALL[: SMALL.index(part)].count("\n") + 1


def test_a_valid_file_is_read_whole() -> None:
    catalogue = read_catalogue(SMALL, name="plans.yaml")
    plan = catalogue.plans["metered"]
    calls, units, _ = plan.charges
    assert isinstance(calls, UnitCharge)
    assert isinstance(units, GraduatedCharge)
    assert (plan.version, plan.currency) == (2, "EUR")
    assert [tier.up_to for tier in units.tiers] == [Decimal(10), None]
    assert catalogue.meters["calls"].filter == {"status": "done", "paid": "true"}
    assert catalogue.discount_schedules["loyal"].tiers[1].up_to is None
    assert [price.effective_from.month for price in catalogue.models["small-1"]] == [1, 7]


def test_the_shipped_file_is_valid() -> None:
    assert set(shipped_catalogue().discount_schedules) == {"volume-50k"}
    assert CATALOGUE_FILE.name == "bizbot.yaml"


def test_a_part_of_a_catalogue_is_a_catalogue() -> None:
    assert read_catalogue("meters: {}", name="plans.yaml") == Catalogue()


@given(st.decimals(0, 10**12, places=12).map(lambda price: f"{price:f}"))
def test_numbers_are_taken_digit_for_digit(written: str) -> None:
    text = changed("amount: 9.90", f"amount: {written}")
    charge = read_catalogue(text, name="plans.yaml").plans["metered"].charges[2]
    assert str(getattr(charge, "amount", None)) == str(Decimal(written))


def test_a_price_time_without_an_offset_is_in_utc() -> None:
    prices = [
        ModelPrice(start, "USD", Decimal(1), Decimal(1))
        for start in ("2026-01-01", "2026-01-01T00:00:00", "2026-01-01T01:00:00+01:00")
    ]
    assert len({price.effective_from for price in prices}) == 1
    assert all(price.effective_from.tzinfo for price in prices)


CALLS = "plans.metered.charges[0]"
TIERS = "plans.metered.charges[1].tiers"
LOYAL = "discount_schedules.loyal"
SMALL_1 = "models.small-1"
THIRD = "plans.metered.charges[2]"
FEE = "model: recurring, amount: 9.90"
PACKAGE = "model: package, meter: calls, package_price: 1, "
UNIT = "model: unit, meter: calls, unit_price: 1, "
FAULTS = [
    # names and versions
    ("  metered:\n", "  Metered:\n", "plans.Metered", "lower-case"),
    ("  loyal:\n", "  loyal customers:\n", "discount_schedules.loyal customers", "lower-case"),
    ("code: calls", "code: Calls!", f"{CALLS}.code", "lower-case"),
    ("version: 2", "version: 0", "plans.metered.version", "count from 1"),
    ("version: 2", "version: two", "plans.metered.version", "int"),
    ("version: 1", "version: -1", f"{LOYAL}.version", "count from 1"),
    ("currency: EUR", "currency: EURO", "plans.metered.currency", "no known currency"),
    ("code: units", "code: calls", "plans.metered.charges", "same code"),
    # references
    ("meter: calls", "meter: call", f"{CALLS}.meter", "no meter 'call'"),
    ("charge: calls", "charge: call", f"{LOYAL}.charge", "metered charge 'call'"),
    ("charge: calls", "charge: fee", f"{LOYAL}.charge", "metered charge 'fee'"),
    # fields
    ("    currency: EUR\n", "", "plans.metered", "missing required field `currency`"),
    ("        unit_price: 0.1\n", "", CALLS, "missing required field `unit_price`"),
    ("components:", "component:", CALLS, "unknown field `component`"),
    ("flat_fee: 1}", "flat_fees: 1}", f"{TIERS}[0]", "unknown field `flat_fees`"),
    ("percent_off: 12.5", "percent_of: 12.5", f"{LOYAL}.tiers[0]", "field `percent_of"),
    ("filter: {", "filters: {", "meters.calls", "unknown field `filters`"),
    ("tokens: included", "tokens: free", "plans.metered.tokens", "free"),
    ("model: unit", "model: units", f"{CALLS}.model", "units"),
    ("aggregate: count", "aggregate: mean", "meters.calls.aggregate", "mean"),
    ("aggregate: count", "aggregate: max", "meters.calls", "a max names its property"),
    ("    property: units\n", "", "meters.units", "a sum names its property"),
    ("aggregate: count", "aggregate: count, property: x", "meters.calls", "has no property"),
    ("    charges:\n", "    charges: none\n    others:\n", "plans.metered.charges", "array"),
    # prices
    ("unit_price: 0.1\n", "unit_price: cheap\n", f"{CALLS}.unit_price", "decimal"),
    ("unit_price: 0.1\n", "unit_price: -0.1\n", f"{CALLS}.unit_price", "0 or more"),
    ("unit_price: 0.1\n", "unit_price: NaN\n", f"{CALLS}.unit_price", "0 or more"),
    ("unit_price: 0.1\n", "unit_price: sNaN\n", f"{CALLS}.unit_price", "0 or more"),
    ("unit_price: 0.1\n", "unit_price: Infinity\n", f"{CALLS}.unit_price", "0 or more"),
    ("unit_price: 0.1\n", "unit_price: .inf\n", f"{CALLS}.unit_price", "plain decimal"),
    ("unit_price: 0.1\n", "unit_price: 0x10\n", f"{CALLS}.unit_price", "plain decimal"),
    ("unit_price: 0.1\n", "unit_price: 1:30\n", f"{CALLS}.unit_price", "plain decimal"),
    ("unit_price: 0.1\n", "unit_price: 1.0e+2\n", f"{CALLS}.unit_price", "plain decimal"),
    ("unit_price: 0.1\n", "unit_price: 1e30\n", f"{CALLS}.unit_price", "above 10^12"),
    ("amount: 9.90", "amount: 0.0000000000001", "plans.metered.charges[2].amount", "12 decimal"),
    ("work: 0.07", "work: 0.08", f"{CALLS}.components", "add up to 0.11, not to the price 0.1"),
    ("work: 0.07", "work: 1e99", f"{CALLS}.components.work", "above 10^12"),
    ("work: 0.07", "work: NaN", f"{CALLS}.components.work", "0 or more"),
    ("flat_fee: 1}", "flat_fee: -1}", f"{TIERS}[0].flat_fee", "0 or more"),
    # tiers
    ("up_to: 10,", "up_to: 0,", f"{TIERS}[0].up_to", "above 0"),
    ("up_to: 10,", "up_to: NaN,", f"{TIERS}[0].up_to", "0 or more"),
    ("up_to: 10,", "up_to: Infinity,", f"{TIERS}[0].up_to", "0 or more"),
    ("up_to: 10,", "up_to: null,", f"{TIERS}[0].up_to", "only the last tier"),
    ("up_to: null,", "up_to: 20,", TIERS, "has no end"),
    ("up_to: ~,", "up_to: 99,", f"{LOYAL}.tiers[1].up_to", "above 100"),
    ("percent_off: 12.5", "percent_off: 101", f"{LOYAL}.tiers[0].percent_off", "between 0 and 100"),
    ("percent_off: 12.5", "percent_off: -1", f"{LOYAL}.tiers[0].percent_off", "0 or more"),
    ("percent_off: 12.5", "percent_off: NaN", f"{LOYAL}.tiers[0].percent_off", "0 or more"),
    # what comes on top of a price
    (FEE, PACKAGE + "package_size: 0", f"{THIRD}.package_size", "above 0"),
    (FEE, PACKAGE + "package_size: -1", f"{THIRD}.package_size", "0 or more"),
    (FEE, PACKAGE + "package_size: 1e-13", f"{THIRD}.package_size", "12 decimal"),
    (FEE, PACKAGE + "package: 1", THIRD, "unknown field `package`"),
    (FEE, UNIT + "free_units: -1", f"{THIRD}.free_units", "0 or more"),
    (FEE, UNIT + "discount_percent: 100.1", f"{THIRD}.discount_percent", "between 0 and 100"),
    (FEE, UNIT + "discount_percent: -1", f"{THIRD}.discount_percent", "0 or more"),
    (FEE, UNIT + "minimum_spend: -1", f"{THIRD}.minimum_spend", "0 or more"),
    (FEE, UNIT + "maximum_spend: NaN", f"{THIRD}.maximum_spend", "0 or more"),
    (
        FEE,
        UNIT + "minimum_spend: 2, maximum_spend: 1.99",
        f"{THIRD}.minimum_spend",
        "above maximum_spend",
    ),
    (FEE, "model: flat, amount: -1", f"{THIRD}.amount", "0 or more"),
    (FEE, "model: flat, amount: 1, free_units: 1", THIRD, "unknown field `free_units`"),
    (FEE, "model: volume, meter: calls, tiers: []", f"{THIRD}.tiers", "has no end"),
    # model prices
    ("from: 2026-01-01", "from: soon", f"{SMALL_1}[0].from", "such as 2025-05-22"),
    ("from: 2026-07-01", "from: 2026-01-01", f"{SMALL_1}[1].from", "another price"),
    ("01-01, currency: USD", "01-01, currency: $", f"{SMALL_1}[0].currency", "no known"),
    ("million: 4}", "million: -4}", f"{SMALL_1}[0].output_per_million", "0 or more"),
    # the writing
    ("paid: true", "paid: yes", "meters.calls.filter.paid", "write true or false"),
    ("    version: 2\n", "    version: 2\n    version: 3\n", "plans.metered.version", "twice"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "message"), FAULTS)
def test_a_fault_is_told_with_its_place(old: str, new: str, place: str, message: str) -> None:
    found = complaints(changed(old, new))
    assert [(at, message in said) for _, at, said in found if at == place][:1] == [(place, True)]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("unit_price: 0.1\n", "unit_price: cheap\n", line_of("unit_price: 0.1")),
        ("unit_price: 0.1\n", "unit_price: -1\n", line_of("unit_price: 0.1")),
        ("model: unit\n", "model: units\n", line_of("model: unit\n")),
        ("amount: 9.90", "amount: none", line_of("amount: 9.90")),
        ("work: 0.07", "work: 0.08", line_of("components:")),
        ("    currency: EUR\n", "", line_of("  metered:")),
        ("    aggregate: sum\n", "", line_of("  units:\n")),
        ("up_to: 10,", "up_to: 0,", line_of("up_to: 10,")),
        ("percent_off: 25", "percent_off: 250", line_of("percent_off: 25}")),
        ("output_per_million: 2", "output_per_million: -2", line_of("from: 2026-07-01")),
        ("property: units", "property: units\n    propperty: x", line_of("  units:\n")),
        ("version: 2\n", "version: 2\n    version: 3\n", line_of("version: 2") + 1),
    ],
)
def test_a_fault_is_told_with_its_line(old: str, new: str, line: int) -> None:
    assert line in [at for at, _, _ in complaints(changed(old, new))]


def test_every_fault_is_told_at_once() -> None:
    text = changed("unit_price: 0.1\n", "unit_price: -1\n").replace("up_to: 10,", "up_to: 0,")
    assert len(complaints(text)) == 3
    wrong_types = SMALL.replace("version: 2", "version: x").replace("version: 1", "version: y")
    places = [place for _, place, _ in complaints(wrong_types)]
    assert places == ["plans.metered.version", "discount_schedules.loyal.version"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "is empty"),
        ("# nothing\n", 1, "is empty"),
        ("5", 1, "must hold"),
        ("[1, 2]", 1, "must hold"),
        ("meters: [", 1, "expected"),
        ("plans:\n  a: {\n", 3, "expected"),
        ("plans:\n\t- a\n", 2, "cannot start any token"),
        ("meters: {}\n---\nplans: {}\n", 2, "another document"),
        ("meters: {}\nplans: *none\n", 2, "undefined alias"),
        ("meters: {}\nname: \x07\n", 2, "does not allow"),
        ("\x00", 1, "does not allow"),
        ("metres: {}\n", 1, "is not known"),
        ("meters: {}\nplans:\n", 2, "must hold names"),
        ("? [a, b]\n: c\n", 1, "plain text"),
        ("plans: &a\n  b: *a\n", 1, "holds itself"),
        ("plans: {<<: {a: 1}}\n", 1, "is not read"),
        ("[" * 1000, 1, "nested too deeply"),
    ],
)
def test_what_is_no_catalogue_is_told_with_its_line(text: str, line: int, message: str) -> None:
    (at, _, said), *_ = complaints(text)
    assert (at, message in said) == (line, True), said


def test_aliases_may_save_writing() -> None:
    text = changed("filter: {status", "filter: &done {status").replace(
        "    aggregate: sum\n", "    aggregate: sum\n    filter: *done\n"
    )
    meters = read_catalogue(text, name="plans.yaml").meters
    assert meters["units"].filter == meters["calls"].filter


def test_aliases_of_aliases_cannot_fill_the_memory() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    ((_, _, said),) = complaints(text)
    assert "too many values" in said


def read_or_refused(text: str) -> bool:
    try:
        return isinstance(read_catalogue(text, name="plans.yaml"), Catalogue)
    except InvalidCatalogueError as error:
        return bool(error.complaints)


@given(st.text(max_size=40))
def test_any_text_is_a_catalogue_or_is_refused(text: str) -> None:
    assert read_or_refused(text)


@given(st.integers(0, len(SMALL)), st.integers(0, 30), st.text(max_size=4))
def test_a_damaged_file_is_a_catalogue_or_is_refused(place: int, length: int, new: str) -> None:
    assert read_or_refused(SMALL[:place] + new + SMALL[place + length :])
