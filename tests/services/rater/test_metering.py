"""Events become quantities: the same ones, however the events are batched or ordered."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.metering import (
    EventTypeMeters,
    Meter,
    UsageKey,
    UsageTally,
    by_event_type,
)
from shared.events import InvalidEventError

TYPE = "com.example.usage"
METERS = {
    "calls": Meter(TYPE, "count", {"billable": "true"}, None, ["model", "billable"]),
    "units": Meter(TYPE, "sum", {}, "units", ["model"]),
    "seconds": Meter(TYPE, "sum", {"model": "a", "billable": "1"}, "seconds"),
}
OF_TYPE = by_event_type(METERS)[TYPE]

PLAIN = st.sampled_from(
    [None, True, False, 1, 0, Decimal("1.0"), Decimal("1E+2"), 100, "1", "true", "a", "b", ""]
)
NUMBERS = (
    st.integers(-(10**12), 10**12)
    | st.decimals(-(10**12), 10**12, places=12)
    | st.decimals(0, 3, places=1)
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={"model": PLAIN, "billable": PLAIN, "units": NUMBERS, "seconds": NUMBERS},
    ),
    max_size=12,
)


def as_postgres_writes_it(value: object) -> str:
    """Write a JSON value as ``->>`` does: no exponent, true in small letters."""
    if isinstance(value, bool):
        return str(value).lower()
    if value == Decimal("1E+2"):
        return "100"
    return str(value)


def one_by_one(events: Iterable[dict[str, Any]]) -> dict[UsageKey, Fraction]:
    """Meter event by event and property by property, with fractions."""
    sums: dict[UsageKey, Fraction] = {}
    for event in events:
        for code, meter in METERS.items():
            matches = all(
                event.get(name) is not None and as_postgres_writes_it(event[name]) == wanted
                for name, wanted in meter.filter.items()
            )
            if not matches:
                continue
            value = (
                Fraction(1) if meter.property is None else Fraction(event.get(meter.property, 0))
            )
            splits = [("", "")]
            splits.extend(
                (name, as_postgres_writes_it(event[name]))
                for name in meter.dimensions
                if event.get(name) is not None
            )
            for dimension, text in splits:
                key = UsageKey("con_1", "2026-10", code, dimension, text)
                sums[key] = sums.get(key, Fraction(0)) + value
    return {key: value for key, value in sums.items() if value}


def tallied(batches: Iterable[Sequence[dict[str, Any]]]) -> dict[UsageKey, Fraction]:
    """Meter batch by batch, as the rater does."""
    sums: dict[UsageKey, Fraction] = {}
    for batch in batches:
        tally = UsageTally()
        for event in batch:
            tally.add("con_1", "2026-10", OF_TYPE, *OF_TYPE.read(event))
        for key, quantity in tally.quantities().items():
            sums[key] = sums.get(key, Fraction(0)) + Fraction(quantity)
    return {key: value for key, value in sums.items() if value}


@given(EVENTS, st.data())
def test_batches_and_order_change_no_quantity(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    expected = one_by_one(events)
    assert tallied([events]) == expected
    assert tallied([[event] for event in events]) == expected
    shuffled = data.draw(st.permutations(events))
    cut = data.draw(st.integers(0, len(events)))
    assert tallied([shuffled[:cut], shuffled[cut:]]) == expected


def test_no_digit_of_a_long_sum_is_lost() -> None:
    parts = [Decimal("999999999999.999999999999")] * 20_000 + [10**12] * 3
    expected = Fraction("999999999999.999999999999") * 20_000 + 3 * 10**12
    quantities = tallied([[{"units": part} for part in parts]])
    assert quantities[UsageKey("con_1", "2026-10", "units", "", "")] == expected


def test_contracts_and_months_are_kept_apart() -> None:
    tally = UsageTally()
    for contract_id, period in (("con_1", "2026-10"), ("con_1", "2026-11"), ("con_2", "2026-10")):
        tally.add(contract_id, period, OF_TYPE, *OF_TYPE.read({"units": 2}))
    quantities = tally.quantities()
    assert len(quantities) == 3
    assert set(quantities.values()) == {Decimal(2)}


def test_true_and_one_are_not_the_same() -> None:
    events: list[dict[str, Any]]
    events = [{"billable": True}, {"billable": 1}, {"billable": Decimal("1.0")}]
    whole = UsageKey("con_1", "2026-10", "calls", "", "")
    assert tallied([events])[whole] == tallied([events[::-1]])[whole] == 1


def test_what_is_missing_matches_no_filter() -> None:
    of_type = EventTypeMeters({"calls": Meter(TYPE, "count", {"status": "None"})})
    for data in ({}, {"status": None}):
        group, _ = of_type.read(data)
        assert list(of_type.quantities(group, 1, [])) == []


@pytest.mark.parametrize("value", ["7", None, True, [], {}, [7]])
def test_what_is_added_up_must_be_a_number(value: object) -> None:
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({"units": value})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", "/data/units")


@pytest.mark.parametrize("value", [[], {}, ["a"], {"a": "b"}])
def test_what_is_grouped_by_must_be_plain(value: object) -> None:
    OF_TYPE.read({"model": "a"})
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({"model": value})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", "/data/model")


def test_a_dimensions_value_has_a_largest_length() -> None:
    OF_TYPE.read({"model": "ü" * 256})
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({"model": "x" * 257})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", "/data/model")


def test_what_is_only_filtered_by_may_be_long() -> None:
    of_type = EventTypeMeters({"calls": Meter(TYPE, "count", {"note": "yes"})})
    assert of_type.read({"note": "x" * 5000}) == (("x" * 5000,), ())


def test_meters_are_found_by_the_type_of_event() -> None:
    meters = {"a": Meter("one", "count"), "b": Meter("two", "count"), "c": Meter("one", "count")}
    found = by_event_type(meters)
    assert set(found) == {"one", "two"}
    codes = [code for code, *_ in found["one"].quantities((), 3, [])]
    assert codes == ["a", "c"]
