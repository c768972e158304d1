"""Events become quantities: the same ones, however the events are batched or ordered."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rater.metering import EventTypeMeters, Meter, by_event_type
from services.rater.tallying import UsageChange, UsageKey, UsageTally
from services.rater.tokens import TokenPrice, TokenPrices
from shared.event_errors import InvalidEventError
from tests.services.rater.factories import used
from tests.services.rater.strategies import THOROUGH

TYPE = "com.example.usage"
MONTH = datetime(2026, 10, 1, tzinfo=UTC)
METERS = {
    "calls": Meter(TYPE, "count", {"billable": "true"}, None, ["model", "billable"]),
    "units": Meter(TYPE, "sum", {}, "units", ["model"]),
    "seconds": Meter(TYPE, "sum", {"model": "a", "billable": "1"}, "seconds"),
    "peak": Meter(TYPE, "max", {}, "units", ["model"]),
    "longest": Meter(TYPE, "max", {"billable": "true"}, "seconds"),
    "users": Meter(TYPE, "unique_count", {}, "user", ["model"]),
    "models": Meter(TYPE, "unique_count", {"billable": "true"}, "model"),
}
OF_TYPE = by_event_type(METERS)[TYPE]

PLAIN = st.sampled_from(
    [None, True, False, 1, 0, Decimal("1.0"), Decimal("1E+2"), 100, "1", "true", "a", "b", ""]
)
NUMBERS = st.integers(0, 10**12) | st.decimals(0, 10**12, places=12) | st.decimals(0, 3, places=1)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "model": PLAIN,
            "billable": PLAIN,
            "units": NUMBERS,
            "seconds": NUMBERS,
            "user": PLAIN,
        },
    ),
    max_size=10,
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
    found: dict[UsageKey, list[Any]] = {}
    for event in events:
        for code, meter in METERS.items():
            if any(
                event.get(name) is None or as_postgres_writes_it(event[name]) != wanted
                for name, wanted in meter.filter.items()
            ):
                continue
            value: Any = 1 if meter.property is None else event.get(meter.property)
            splits = [("", "")] + [
                (name, as_postgres_writes_it(event[name]))
                for name in meter.dimensions
                if event.get(name) is not None
            ]
            for dimension, text in splits:
                key = UsageKey("con_1", "2026-10", code, dimension, text)
                if value is not None:
                    found.setdefault(key, []).append(value)
    return nonzero({key: aggregated(key.meter, values) for key, values in found.items()})


def aggregated(code: str, values: list[Any]) -> Fraction:
    match METERS[code].aggregate:
        case "max":
            return max(map(Fraction, values), default=Fraction(0))
        case "unique_count":
            different: list[str] = []
            for value in map(as_postgres_writes_it, values):
                if value not in different:
                    different.append(value)
            return Fraction(len(different))
        case _:
            return sum((Fraction(value) for value in values), Fraction(0))


def nonzero(quantities: dict[UsageKey, Fraction]) -> dict[UsageKey, Fraction]:
    return {key: quantity for key, quantity in quantities.items() if quantity}


def changed(events: Iterable[dict[str, Any]], prices: TokenPrices | None = None) -> UsageChange:
    """Meter a batch, as the rater does."""
    tally = UsageTally()
    readings = [OF_TYPE.read(event) for event in events]
    prices = prices or TokenPrices()
    tally.add(used(MONTH, OF_TYPE, *readings), ["con_1"] * len(readings), prices)
    return tally.change(prices)


def tallied(batches: Iterable[Sequence[dict[str, Any]]]) -> dict[UsageKey, Fraction]:
    """Meter batch by batch, and keep totals the way the tables do."""
    totals: dict[UsageKey, Fraction] = {}
    met: set[tuple[UsageKey, str]] = set()
    for batch in batches:
        change = changed(batch)
        for key, quantity in change.added.items():
            totals[key] = totals.get(key, Fraction(0)) + Fraction(quantity)
        for key, peak in change.peaks.items():
            totals[key] = max(totals.get(key, Fraction(0)), Fraction(peak))
        met |= {(key, member) for key, members in change.members.items() for member in members}
    for key, _ in met:
        totals[key] = totals.get(key, Fraction(0)) + 1
    return nonzero(totals)


@THOROUGH
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
    # What was counted anew, in one piece, is what the batches come to.
    anew = changed(shuffled).totals()
    assert nonzero({key: Fraction(total) for key, total in anew.items()}) == expected


def test_no_digit_of_a_long_sum_is_lost() -> None:
    parts = [Decimal("999999999999.999999999999")] * 20_000 + [10**12] * 3
    expected = Fraction("999999999999.999999999999") * 20_000 + 3 * 10**12
    quantities = tallied([[{"units": part} for part in parts]])
    assert quantities[UsageKey("con_1", "2026-10", "units", "", "")] == expected
    assert quantities[UsageKey("con_1", "2026-10", "peak", "", "")] == 10**12


def test_a_peak_is_told_from_its_neighbour_in_the_last_place() -> None:
    lower, higher = Decimal("999999999999.999999999998"), Decimal("999999999999.999999999999")
    key = UsageKey("con_1", "2026-10", "peak", "", "")
    assert tallied([[{"units": higher}], [{"units": lower}]])[key] == Fraction(higher)


def test_an_event_without_the_property_makes_no_peak_and_is_no_value() -> None:
    change = changed([{"model": "a"}, {"user": None}])
    peaks = {key: peak for key, peak in change.peaks.items() if peak}
    assert peaks == {}
    assert not any(change.members.values())


def test_one_value_written_in_two_ways_is_two_unless_the_text_is_the_same() -> None:
    key = UsageKey("con_1", "2026-10", "users", "", "")
    assert tallied([[{"user": 1}, {"user": "1"}, {"user": Decimal("1.0")}]])[key] == 2
    assert tallied([[{"user": True}, {"user": "true"}], [{"user": 1}]])[key] == 2


def test_contracts_and_months_are_kept_apart() -> None:
    tally = UsageTally()
    november = datetime(2026, 11, 1, tzinfo=UTC)
    for contract_id, month in (("con_1", MONTH), ("con_1", november), ("con_2", MONTH)):
        events = used(month, OF_TYPE, OF_TYPE.read({"units": 2, "user": "u"}))
        tally.add(events, [contract_id], TokenPrices())
    change = tally.change(TokenPrices())
    places = {("con_1", "2026-10"), ("con_1", "2026-11"), ("con_2", "2026-10")}
    assert change.contract_months() == places
    assert set(change.added.values()) == set(change.peaks.values()) == {Decimal(2)}
    for meter in ("units", "peak", "users"):
        assert {key[:2] for key in change.totals() if key.meter == meter} == places


def test_nothing_changes_nothing() -> None:
    assert not changed([])
    assert changed([{}])


def test_true_and_one_are_not_the_same() -> None:
    events: list[dict[str, Any]]
    events = [{"billable": True}, {"billable": 1}, {"billable": Decimal("1.0")}]
    whole = UsageKey("con_1", "2026-10", "calls", "", "")
    assert tallied([events])[whole] == tallied([events[::-1]])[whole] == 1


def test_what_is_missing_matches_no_filter() -> None:
    of_type = EventTypeMeters({"calls": Meter(TYPE, "count", {"status": "None"})})
    for data in ({}, {"status": None}):
        assert list(of_type.counting(of_type.read(data).group)) == []


@pytest.mark.parametrize("value", ["7", None, True, [], {}, [7]])
def test_what_is_added_up_must_be_a_number(value: object) -> None:
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({"units": value})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", "/data/units")


@pytest.mark.parametrize("name", ["units", "seconds"])
@pytest.mark.parametrize("value", [-1, Decimal("-0.000000000001"), -(10**12)])
def test_what_is_added_up_or_compared_must_not_be_negative(name: str, value: object) -> None:
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({name: value})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", f"/data/{name}")
    assert OF_TYPE.read({name: Decimal("-0.0")})


@pytest.mark.parametrize("name", ["model", "user"])
@pytest.mark.parametrize("value", [[], {}, ["a"], {"a": "b"}])
def test_what_is_grouped_by_or_told_apart_must_be_plain(name: str, value: object) -> None:
    OF_TYPE.read({name: "a"})
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({name: value})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", f"/data/{name}")


@pytest.mark.parametrize("name", ["model", "user"])
def test_what_totals_are_kept_by_has_a_largest_length(name: str) -> None:
    OF_TYPE.read({name: "ü" * 256})
    with pytest.raises(InvalidEventError) as caught:
        OF_TYPE.read({name: "x" * 257})
    assert (caught.value.code, caught.value.pointer) == ("invalid_data", f"/data/{name}")


def test_what_is_only_filtered_by_may_be_long() -> None:
    of_type = EventTypeMeters({"calls": Meter(TYPE, "count", {"note": "yes"})})
    assert of_type.read({"note": "x" * 5000}).group == ("x" * 5000,)


def test_meters_are_found_by_the_type_of_event() -> None:
    meters = {"a": Meter("one", "count"), "b": Meter("two", "count"), "c": Meter("one", "count")}
    found = by_event_type(meters)
    assert set(found) == {"one", "two"}
    assert [code for code, *_ in found["one"].counting(())] == ["a", "c"]


def test_tokens_are_kept_by_the_price_in_force_too() -> None:
    """Two segments of a month, and a model without a price."""
    half = datetime(2026, 10, 16, tzinfo=UTC)
    prices = TokenPrices(
        TokenPrice("m", since, "USD", Decimal(cost), Decimal(cost))
        for since, cost in ((datetime(2026, 1, 1, tzinfo=UTC), 3), (half, 2))
    )
    tokens = Meter(TYPE, "sum", {}, "tokens", ["model", "key"])
    of_type = by_event_type({"input_tokens": tokens, "other": tokens})[TYPE]
    tally = UsageTally()
    for segment, model, amount in (
        (MONTH, "m", 1),
        (half, "m", 2),
        (half, "n", 4),
        (MONTH, None, 8),
    ):
        reading = of_type.read({"model": model, "tokens": amount})
        tally.add(used(segment, of_type, reading), ["con_1"], prices)
    added = tally.change(prices).added
    kept = {
        (key.dimension, key.value): total for key, total in added.items() if key.meter != "other"
    }
    assert kept == {
        ("", ""): 15,
        ("model", "m"): 3,
        ("model", "n"): 4,
        ("model_price", "m@2026-01-01T00:00:00Z"): 1,
        ("model_price", "m@2026-10-16T00:00:00Z"): 2,
        ("model_price", "n@"): 4,
    }
    assert not any(key.dimension == "model_price" for key in added if key.meter == "other")
