"""I6: money is exact, and is rounded in one place, half up, mirrored for negative amounts."""

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.money import (
    CHARGED_IN,
    EXACT,
    MINOR_UNITS,
    PRORATED_PLACES,
    UnknownCurrencyError,
    from_minor,
    minor_unit_places,
    plain,
    prorate,
    round_to_minor,
    with_minor_unit,
)

AMOUNTS = st.decimals(-(10**12), 10**12, allow_nan=False, places=12)
CURRENCIES = st.sampled_from(sorted(MINOR_UNITS))


def half_up(value: Fraction) -> int:
    """The rule in whole numbers: add a half to the size, cut off, give the sign back."""
    doubled = 2 * abs(value.numerator) + value.denominator
    size = doubled // (2 * value.denominator)
    return size if value >= 0 else -size


@given(AMOUNTS, CURRENCIES)
@example(Decimal("0.005"), "USD")
@example(Decimal("-0.005"), "USD")
@example(Decimal("0.004999999999"), "USD")
@example(Decimal("0.5"), "JPY")
@example(Decimal("-2.5"), "KRW")
@example(Decimal("0.005"), "KWD")
@example(Decimal("0.0049"), "KWD")
def test_an_amount_is_rounded_half_up_to_what_is_charged(amount: Decimal, currency: str) -> None:
    """Currencies of three places are charged to the second, as Stripe asks."""
    places = MINOR_UNITS[currency]
    unit = 10 if places == 3 else 1
    expected = half_up(Fraction(amount) * 10**places / unit) * unit
    assert round_to_minor(amount, currency) == expected


@given(AMOUNTS, CURRENCIES)
def test_a_credit_undoes_its_charge_exactly(amount: Decimal, currency: str) -> None:
    assert round_to_minor(-amount, currency) == -round_to_minor(amount, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("0.125", "USD", 13),
        ("0.135", "USD", 14),
        ("2.675", "USD", 268),
        ("-0.125", "USD", -13),
        ("1.5", "JPY", 2),
        ("2.5", "JPY", 3),
        ("1.005", "BHD", 1010),
        ("-1.005", "BHD", -1010),
        ("5.1249", "KWD", 5120),
        ("0", "USD", 0),
        ("1E+3", "USD", 100_000),
        ("12345678901234567890123456789012345.005", "USD", 1234567890123456789012345678901234501),
    ],
)
def test_ties_go_away_from_zero(amount: str, currency: str, minor: int) -> None:
    assert round_to_minor(Decimal(amount), currency) == minor


@given(st.integers(-(10**40), 10**40), CURRENCIES)
def test_minor_units_there_and_back(units: int, currency: str) -> None:
    minor = units * CHARGED_IN[currency]
    assert round_to_minor(from_minor(minor, currency), currency) == minor
    assert Fraction(from_minor(minor, currency)) == Fraction(minor, 10 ** MINOR_UNITS[currency])


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_amount_is_never_rounded(amount: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        round_to_minor(Decimal(amount), "USD")


@pytest.mark.parametrize("currency", ["", "usd", "XXX", "US"])
def test_an_unknown_currency_is_told_with_the_known_ones(currency: str) -> None:
    with pytest.raises(UnknownCurrencyError, match="use one of AUD") as caught:
        minor_unit_places(currency)
    assert caught.value.currency == currency
    assert isinstance(caught.value, InvalidInputError)


@given(AMOUNTS, st.integers(28, 31), st.data())
@example(Decimal("19.00"), 31, None)
def test_a_prorated_amount_has_twelve_places_half_up(
    amount: Decimal, days: int, data: st.DataObject | None
) -> None:
    part = 16 if data is None else data.draw(st.integers(0, days - 1))
    exact = Fraction(amount) * part / days
    expected = Fraction(half_up(exact * 10**PRORATED_PLACES), 10**PRORATED_PLACES)
    assert Fraction(prorate(amount, part, days)) == expected


def test_a_prorated_fee() -> None:
    assert prorate(Decimal("19.00"), 16, 31) == Decimal("9.806451612903")
    assert prorate(Decimal("19.00"), 15, 30) == Decimal("9.5")
    assert prorate(Decimal("19.00"), 0, 31) == 0


@given(AMOUNTS, st.integers(28, 31))
def test_the_whole_of_a_fee_is_the_fee(amount: Decimal, days: int) -> None:
    assert prorate(amount, days, days) == amount


@given(AMOUNTS, st.integers(28, 31), st.integers(1, 27))
def test_two_parts_of_a_fee_miss_the_whole_by_at_most_a_step(
    amount: Decimal, days: int, part: int
) -> None:
    parts = Fraction(prorate(amount, part, days)) + Fraction(prorate(amount, days - part, days))
    assert abs(parts - Fraction(amount)) <= Fraction(1, 10**PRORATED_PLACES)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1E-7", "0.0000001"),
        ("1E+3", "1000"),
        ("2.500", "2.5"),
        ("100", "100"),
        ("0E+9", "0"),
        ("-0.00", "0"),
        ("-1.50", "-1.5"),
        ("0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001"),
    ],
)
def test_a_decimal_is_written_in_full(text: str, written: str) -> None:
    assert plain(Decimal(text)) == written


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_writing_a_decimal_keeps_its_value(value: Decimal) -> None:
    written = plain(value)
    assert "E" not in written
    assert Fraction(written) == Fraction(value)


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("2", "USD", "2.00"),
        ("2.5", "USD", "2.50"),
        ("0.0000001", "USD", "0.0000001"),
        ("-9.8", "USD", "-9.80"),
        ("0", "USD", "0.00"),
        ("1.5", "KWD", "1.500"),
        ("1.0005", "KWD", "1.0005"),
        ("1500", "JPY", "1500"),
        ("0.5", "JPY", "0.5"),
    ],
)
def test_an_amount_shows_at_least_its_minor_unit(amount: str, currency: str, written: str) -> None:
    assert with_minor_unit(Decimal(amount), currency) == written


def test_exact_arithmetic_raises_where_a_digit_would_be_lost() -> None:
    with pytest.raises(decimal.Inexact):
        EXACT.divide(Decimal(1), Decimal(3))
    with pytest.raises(decimal.Inexact):
        EXACT.add(Decimal(10) ** 100, Decimal("1E-21"))
    with pytest.raises(decimal.DivisionByZero):
        EXACT.divide(Decimal(1), Decimal(0))
    assert EXACT.multiply(Decimal("123456789012.123456789012"), Decimal("0.000000000001")) == (
        Decimal("0.123456789012123456789012")
    )
