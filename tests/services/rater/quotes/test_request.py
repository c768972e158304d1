"""What is asked to be quoted is read digit for digit, or refused with the place of the fault."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.quotes.request import InvalidQuoteError, checked, read_asked
from shared.errors import InvalidInputError
from shared.periods import Period
from tests.services.rater.quotes.asking import OFFERS, PRESENT, offers_in, quoted

UNIT = {"code": "a", "model": "unit", "unit_price": "1"}
FLAT = {"code": "fee", "model": "flat", "amount": "5"}
FEE = {"code": "fee", "model": "recurring", "amount": "31"}
PACKAGE = {"code": "a", "model": "package", "package_size": "10", "package_price": "1"}


LONGEST = "999999999999.999999999999"
LONG_NUMBERS = f"""
meters:
  a: {{event_type: a, aggregate: count}}
plans:
  long:
    version: 1
    name: Long numbers
    currency: USD
    charges:
      - code: a
        model: unit
        meter: a
        unit_price: {LONGEST}
        discount_percent: 33.333333333333
discount_schedules:
  long:
    version: 1
    charge: a
    tiers: [{{up_to: null, percent_off: 33.333333333333}}]
"""


def tiered(*tiers: Any, model: str = "graduated") -> dict[str, Any]:
    return {"code": "a", "model": model, "tiers": list(tiers)}


LAST = {"up_to": None, "unit_price": "1"}


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ('"0.1"', "0.1"),
        ("0.1", "0.1"),
        ("3", "3"),
        ("0.123456789012", "0.123456789012"),
        ("123456789012.123456789012", "123456789012.123456789012"),
        ("1e3", "1000"),
        ('"1e3"', "1000"),
        ("1000000000000", "1000000000000"),
        ("0", "0"),
    ],
)
def test_a_number_is_read_digit_for_digit(written: str, exact: str) -> None:
    request = (
        f'{{"charges":[{{"code":"a","model":"unit","unit_price":1}}],"usage":{{"a":{written}}}}}'
    )
    assert quoted(request.encode())["exact_total"] == exact
    price = (
        f'{{"charges":[{{"code":"a","model":"unit","unit_price":{written}}}],"usage":{{"a":1}}}}'
    )
    assert quoted(price.encode())["exact_total"] == exact


@pytest.mark.parametrize(
    ("charge", "place", "message"),
    [
        ({"code": "a", "model": "tiered"}, ".model", "there is no model 'tiered'; use one of flat"),
        ({"code": "a", "model": 5}, ".model", "Expected `str`"),
        ({"code": "a", "model": ["unit"]}, ".model", "Expected `str`"),
        ({"code": ["a"], "model": "unit", "unit_price": 1}, ".code", "Expected `str`"),
        ({"code": "a"}, "", "missing required field `model`"),
        ({"model": "unit", "unit_price": "1"}, "", "missing required field"),
        ({"code": "a", "model": "unit"}, "", "missing required field `unit_price`"),
        ({**UNIT, "code": 5}, ".code", "Expected `str`"),
        ({**UNIT, "colour": "red"}, "", "unknown field `colour`"),
        ({**FLAT, "free_units": "1"}, "", "unknown field `free_units`"),
        ({**FLAT, "meter": "a"}, "", "unknown field `meter`"),
        ({**UNIT, "unit_price": "-1"}, ".unit_price", "must be a decimal of 0 or more"),
        ({**UNIT, "unit_price": "abc"}, ".unit_price", "Invalid decimal string"),
        ({**UNIT, "unit_price": ""}, ".unit_price", "Invalid decimal string"),
        ({**UNIT, "unit_price": True}, ".unit_price", "Expected `decimal`, got `bool`"),
        ({**UNIT, "unit_price": None}, ".unit_price", "Expected `decimal`, got `null`"),
        ({**UNIT, "unit_price": "NaN"}, ".unit_price", "must be a decimal of 0 or more"),
        ({**UNIT, "unit_price": "sNaN"}, ".unit_price", "must be a decimal of 0 or more"),
        ({**UNIT, "unit_price": "Infinity"}, ".unit_price", "must be a decimal of 0 or more"),
        ({**UNIT, "unit_price": "1e999999999"}, ".unit_price", "lies above 10^12"),
        ({**UNIT, "unit_price": "1e99999999999999999999"}, ".unit_price", "Invalid decimal"),
        ({**UNIT, "unit_price": "1e-999999999"}, ".unit_price", "more than 12 decimal places"),
        ({**UNIT, "unit_price": "0.0000000000001"}, ".unit_price", "more than 12 decimal places"),
        ({**UNIT, "free_units": "-1"}, ".free_units", "must be a decimal of 0 or more"),
        ({**UNIT, "discount_percent": "100.1"}, ".discount_percent", "between 0 and 100"),
        (
            {**UNIT, "minimum_spend": "2", "maximum_spend": "1"},
            ".minimum_spend",
            "lies above maximum_spend",
        ),
        ({**UNIT, "components": {"x": "0.4"}}, ".components", "add up to 0.4, not to the price 1"),
        ({**UNIT, "components": {"x": "y"}}, ".components.x", "Invalid decimal string"),
        ({**PACKAGE, "package_size": "0"}, ".package_size", "must lie above 0"),
        ({**FLAT, "amount": "-5"}, ".amount", "must be a decimal of 0 or more"),
        (tiered(), ".tiers", "the last tier has no end"),
        (tiered({"up_to": "5", "unit_price": "1"}), ".tiers", "the last tier has no end"),
        (tiered(LAST, LAST), ".tiers[0].up_to", "only the last tier is without end"),
        (tiered({"up_to": "0", "unit_price": "1"}, LAST), ".tiers[0].up_to", "must lie above 0"),
        (
            tiered({"up_to": "5", "unit_price": "1"}, {"up_to": "5", "unit_price": "1"}, LAST),
            ".tiers[1].up_to",
            "must lie above 5",
        ),
        (tiered({"up_to": None, "unit_price": "x"}), ".tiers[0].unit_price", "Invalid decimal"),
        (tiered({**LAST, "fee": "1"}), ".tiers[0]", "unknown field `fee`"),
        (tiered({**LAST, "flat_fee": "-1"}, model="volume"), ".tiers[0].flat_fee", "0 or more"),
        (tiered(5), ".tiers[0]", "Expected `object`"),
        ({**tiered(), "tiers": 5}, ".tiers", "Expected `array`"),
        ({**FEE, "from": "16 October"}, ".from", "is no moment"),
        ({**FEE, "from": 16}, ".from", "write a date or time"),
        ({**FEE, "from": "2026-10-16T00:00:00"}, ".from", "is no moment"),
        ({**FEE, "from": "0001-01-01T00:00:00+23:00"}, ".from", ""),
        ({**FEE, "from": "2026-10-16", "to": "2026-10-16"}, ".to", "must lie after from"),
        ({**FEE, "from": "2026-10-16", "to": "2026-10-15"}, ".to", "must lie after from"),
    ],
)
def test_a_charge_is_refused_with_its_place(
    charge: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(InvalidQuoteError) as caught:
        quoted({"charges": [FLAT, charge]})
    assert caught.value.place == f"charges[1]{place}"
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"charges[1]{place}: ")


@pytest.mark.parametrize(
    ("request_", "place", "message"),
    [
        ({}, "charges", "give charges, or a plan"),
        ({"charges": None}, "charges", "give charges, or a plan"),
        ({"charges": {}}, "charges", "Expected `array`"),
        ({"charges": [5]}, "charges[0]", "Expected `object`"),
        ({"charges": [UNIT], "plan": "byok"}, "charges", "either charges or a plan"),
        ({"charges": [UNIT], "discount": "volume-50k"}, "discount", "goes with a plan"),
        ({"charges": [UNIT], "overrides": {}}, "overrides", "goes with a plan"),
        ({"charges": [UNIT, UNIT]}, "charges[1].code", "there is a charge 'a' already"),
        ({"charges": [UNIT], "currency": "XXX"}, "currency", "use one of AUD"),
        ({"charges": [UNIT], "currency": 5}, "currency", "Expected `str | null`"),
        ({"charges": [UNIT], "period": "2026-13"}, "period", "is not a period"),
        ({"charges": [UNIT], "period": 202610}, "period", "Expected `str | null`"),
        ({"charges": [UNIT], "colour": "red"}, "request", "unknown field `colour`"),
        ({"charges": [UNIT], "usage": {"b": "1"}}, "usage.b", "priced by this meter; there are: a"),
        ({"charges": [FLAT], "usage": {"fee": "1"}}, "usage.fee", "there are: none"),
        ({"charges": [UNIT], "usage": {"a": "-1"}}, "usage.a", "must be a decimal of 0 or more"),
        ({"charges": [UNIT], "usage": {"a": "NaN"}}, "usage.a", "must be a decimal of 0 or more"),
        ({"charges": [UNIT], "usage": {"a": "-Infinity"}}, "usage.a", "decimal of 0 or more"),
        ({"charges": [UNIT], "usage": {"a": "1e999999999"}}, "usage.a", "lies above 10^12"),
        ({"charges": [UNIT], "usage": {"a": 10**12 + 1}}, "usage.a", "lies above 10^12"),
        ({"charges": [UNIT], "usage": {"a": "0.0000000000001"}}, "usage.a", "12 decimal places"),
        ({"charges": [UNIT], "usage": {"a": "many"}}, "usage.a", "Invalid decimal string"),
        ({"charges": [UNIT], "usage": {"b": "1", "a": None}}, "usage.a", "Expected `decimal`"),
        ({"charges": [UNIT], "usage": ["1"]}, "usage", "Expected `object`"),
        ({"plan": "gold"}, "plan", "there are: basic, byok, byok_pro"),
        ({"plan": "byok@7"}, "plan", "there is no plan 'byok@7'"),
        ({"plan": 5}, "plan", "Expected `str | null`"),
        ({"plan": "byok", "currency": "EUR"}, "currency", "plan byok is in USD"),
        ({"plan": "byok", "discount": "half"}, "discount", "no discount schedule 'half'"),
        ({"plan": "byok", "usage": {"tokens": "1"}}, "usage.tokens", "there are: executions"),
        ({"plan": "byok", "overrides": 5}, "overrides.file", "must hold codes"),
        ({"plan": "byok", "overrides": {"fee": {}}}, "overrides.fee", "has no such charge"),
        (
            {"plan": "byok", "overrides": {"executions": {"unit_price": "-1"}}},
            "overrides.executions.unit_price",
            "must be a decimal of 0 or more",
        ),
        (
            {
                "plan": "byok",
                "discount": "volume-50k",
                "overrides": {
                    "executions": {"model": "package", **{k: "1" for k in PACKAGE if "_" in k}}
                },
            },
            "discount",
            "volume-50k cannot be laid over plan byok",
        ),
        ([], "request", "Expected `object`"),
        (5, "request", "Expected `object`"),
    ],
)
def test_a_request_is_refused_with_the_place_of_its_fault(
    request_: Any, place: str, message: str
) -> None:
    with pytest.raises(InvalidQuoteError) as caught:
        quoted(request_)
    assert caught.value.place == place
    assert message in str(caught.value)
    assert (caught.value.status, caught.value.exit_status) == (422, 1)


def test_every_fault_of_the_numbers_is_told() -> None:
    with pytest.raises(InvalidQuoteError, match=r"charges\[0\].unit_price.*charges\[1\].amount"):
        quoted({"charges": [{**UNIT, "unit_price": "-1"}, {**FLAT, "amount": "-1"}]})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"{",
        b'{"plan": "byok"} {}',
        b'{"plan": "\xff"}',
        b'{"charges": [{"code": "\xff"}]}',
        b'{"charges": [{"code": "a", "model": "unit", "unit_price": NaN}]}',
        b'{"plan": "byok", "overrides": {"a": "\xff"}}',
        b'{"charges": ' + b"[" * 100_000,
        b'{"charges": [{"code": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        quoted(text)
    assert caught.value.code in ("invalid_json", "invalid_quote")


@pytest.mark.parametrize(
    "number", ["1e99999999999999999999", "-1e99999999999999999999", "9" * 5_000]
)
def test_a_json_number_beyond_all_bounds_is_refused_in_its_place(number: str) -> None:
    charge = f'{{"code": "a", "model": "unit", "unit_price": {number}}}'
    with pytest.raises(InvalidQuoteError) as caught:
        quoted(f'{{"charges": [{charge}]}}'.encode())
    assert caught.value.place.startswith("charges[0]")
    with pytest.raises(InvalidQuoteError) as caught:
        quoted(f'{{"charges": [{json.dumps(UNIT)}], "usage": {{"a": {number}}}}}'.encode())
    assert caught.value.place == "usage.a"


def test_a_number_that_is_written_twice_is_refused_if_one_of_them_is_none() -> None:
    with pytest.raises(InvalidQuoteError) as caught:
        quoted(f'{{"charges": [{json.dumps(UNIT)}], "usage": {{"a": "x", "a": 1}}}}'.encode())
    assert caught.value.place == "usage"


FIELDS = (
    "meter", "unit_price", "tiers", "amount", "from", "to", "components", "free_units",
    "minimum_spend", "package_size", "package_price", "discount_percent",
)  # fmt: skip
MODELS = ("unit", "graduated", "volume", "package", "flat", "recurring")
WORDS = st.sampled_from(
    ("code", "model", "up_to", "flat_fee", "a", "executions", "2026-10-16", *FIELDS, *MODELS)
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.decimals(allow_nan=True).map(str)
    | WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=4),
    max_leaves=12,
)
CHARGES = st.fixed_dictionaries(
    {"code": WORDS | VALUES, "model": st.sampled_from(MODELS) | VALUES},
    optional=dict.fromkeys(FIELDS, VALUES),
)
REQUESTS = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "charges": st.lists(CHARGES | VALUES, max_size=3) | VALUES,
        "plan": st.sampled_from(["byok", "byok_pro", "gold"]) | VALUES,
        "discount": st.just("volume-50k") | VALUES,
        "overrides": st.dictionaries(WORDS, CHARGES | VALUES, max_size=2) | VALUES,
        "usage": st.dictionaries(WORDS, VALUES, max_size=3) | VALUES,
        "period": st.just("2026-10") | VALUES,
        "currency": st.just("USD") | VALUES,
    },
)


@given(REQUESTS)
def test_whatever_is_asked_is_answered_or_refused(request_: Any) -> None:
    try:
        answer = quoted(request_)
    except InvalidInputError:
        return
    assert sum(Decimal(line["amount"]) for line in answer["lines"]) == Decimal(answer["total"])


def test_the_longest_numbers_are_still_reckoned_exactly() -> None:
    request = {"plan": "long", "discount": "long", "usage": {"a": LONGEST}}
    share = 1 - Fraction("33.333333333333") / 100
    exact = Fraction(LONGEST) ** 2 * share * share
    assert Fraction(quoted(request, offers_in(LONG_NUMBERS))["exact_total"]) == exact


def test_a_meter_that_is_not_named_has_no_usage() -> None:
    assert quoted({"charges": [UNIT]})["lines"] == []
    nothing = quoted({"charges": []})
    assert (nothing["lines"], nothing["exact_total"], nothing["total"]) == ([], "0", "0.00")


def test_two_charges_may_price_one_meter() -> None:
    other = {"code": "b", "model": "unit", "unit_price": "2", "meter": "a"}
    assert quoted({"charges": [UNIT, other], "usage": {"a": "3"}})["total"] == "9.00"


def test_the_present_month_is_meant_where_none_is_named() -> None:
    asked = read_asked(
        b'{"charges":[{"code":"f","model":"recurring","amount":"1","from":"2026-02-15"}]}'
    )
    ((_, coverage),) = checked(asked, None, Period(2026, 2)).charges
    assert (coverage.days, coverage.days_in_month) == (range(15, 29), 28)
    ((_, coverage),) = checked(asked, None, PRESENT).charges
    assert coverage.days == range(1, 32)


def test_a_catalogue_is_not_needed_for_charges_of_ones_own() -> None:
    asked = read_asked(
        b'{"charges":[{"code":"a","model":"unit","unit_price":"2"}],"usage":{"a":1}}'
    )
    request = checked(asked, None, PRESENT)
    assert request.usage == {"a": Decimal(1)}


def test_the_same_charges_are_priced_anew_in_another_month() -> None:
    fee = {**FEE, "from": "2026-02-15"}
    february = quoted({"charges": [fee], "period": "2026-02"})
    march = quoted({"charges": [fee], "period": "2026-03"})
    assert (february["total"], march["total"]) == ("15.50", "31.00")


def test_a_version_of_a_plan_may_be_named() -> None:
    assert OFFERS.plan("byok@1") == OFFERS.plan("byok")
    usage = {"executions": "1000"}
    assert quoted({"plan": "byok@1", "usage": usage}) == quoted({"plan": "byok", "usage": usage})
