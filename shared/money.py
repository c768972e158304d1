"""Money: exact decimals, and the one place where an amount is rounded. Pure.

Amounts are `Decimal` in the currency's major unit (dollars, not cents) until an invoice
line rounds them, once, to an integer of the currency's minor unit (invariant I6).
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation

from shared.errors import InvalidInputError

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, DivisionByZero])
"""Arithmetic that raises `decimal.Inexact` instead of losing a digit."""

_HALF_UP = Context(prec=160, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero])

PRORATED_PLACES = 12
"""Decimal places kept of a prorated amount, the only one that need not be a finite decimal."""

MINOR_UNITS = {
    "AUD": 2, "BHD": 3, "CAD": 2, "CHF": 2, "CLP": 0, "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2,
    "HKD": 2, "INR": 2, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "MXN": 2, "NOK": 2, "NZD": 2,
    "OMR": 3, "PLN": 2, "SEK": 2, "SGD": 2, "TND": 3, "USD": 2, "VND": 0, "ZAR": 2,
}  # fmt: skip
"""Decimal places of each currency's minor unit (ISO 4217)."""


CHARGED_IN = {currency: 10 if places == 3 else 1 for currency, places in MINOR_UNITS.items()}
"""How many minor units an amount to be charged is a whole number of.

Payment networks charge currencies of three decimal places to the second only: Stripe asks for
a last digit of 0 (https://docs.stripe.com/currencies#three-decimal).
"""


class UnknownCurrencyError(InvalidInputError, ValueError):
    """A currency code that Tallybook has no minor unit for."""

    code = "unknown_currency"

    def __init__(self, currency: str) -> None:
        self.currency = currency
        known = ", ".join(sorted(MINOR_UNITS))
        super().__init__(f"currency {currency!r} is not known; use one of {known}")


def minor_unit_places(currency: str) -> int:
    """Give the decimal places of `currency`'s minor unit; raise `UnknownCurrencyError`."""
    try:
        return MINOR_UNITS[currency]
    except KeyError:
        raise UnknownCurrencyError(currency) from None


def round_to_minor(amount: Decimal, currency: str) -> int:
    """Round an exact amount to minor units (cents) that can be charged, half away from zero.

    A currency of three decimal places is charged in whole tens of its minor unit. A negative
    amount mirrors its positive twin, so that a credit undoes its charge exactly. This is the
    only rounding of money in Tallybook; it is applied once per invoice line.
    """
    scaled = EXACT.scaleb(amount, minor_unit_places(currency))
    step = CHARGED_IN[currency]
    return int(EXACT.divide(scaled, step).quantize(Decimal(1), context=_HALF_UP)) * step


def from_minor(minor: int, currency: str) -> Decimal:
    """Give the amount in major units that `minor` whole minor units are worth."""
    return EXACT.scaleb(Decimal(minor), -minor_unit_places(currency))


def allocate(minor: int, weights: Sequence[Decimal]) -> list[int]:
    """Share out whole minor units by weights, so that the parts add up to the whole.

    Each gets what it is due, cut to whole units; those who lost most by that get what is left,
    one each, the first of equals first. A negative whole mirrors its positive twin. Weights are
    0 or more; where all are 0 they share equally. Raises `ValueError` without a weight.
    """
    if not weights or min(weights) < 0:
        raise ValueError("there must be weights, of 0 or more")
    parts = _whole_numbers(weights)
    whole = sum(parts)
    if not whole:
        parts, whole = [1] * len(parts), len(parts)
    due = [divmod(abs(minor) * part, whole) for part in parts]
    shares = [share for share, _ in due]
    by_loss = sorted(range(len(due)), key=lambda index: -due[index][1])
    for index in by_loss[: abs(minor) - sum(shares)]:
        shares[index] += 1
    return [-share for share in shares] if minor < 0 else shares


def _whole_numbers(weights: Sequence[Decimal]) -> list[int]:
    """Write weights as whole numbers, by moving their points alike."""
    places = max(-int(weight.as_tuple().exponent) for weight in weights)
    return [int(EXACT.scaleb(weight, places)) for weight in weights]


def prorate(amount: Decimal, part: int, whole: int) -> Decimal:
    """Give `part`/`whole` of `amount`, kept to 12 decimal places, half away from zero."""
    if part == whole:
        return amount
    exact_product = EXACT.multiply(amount, Decimal(part))
    quotient = _HALF_UP.divide(exact_product, Decimal(whole))
    step = Decimal(1).scaleb(-PRORATED_PLACES)
    return quotient.quantize(step, context=_HALF_UP)


def plain(value: Decimal) -> str:
    """Write a decimal in full, without exponent and without trailing zeros: ``0.0000001``."""
    if not value:
        return "0"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_minor_unit(amount: Decimal, currency: str) -> str:
    """Write an amount with at least the minor unit's places: ``2.00``, ``0.0000001``."""
    text = plain(amount)
    places = minor_unit_places(currency)
    if not places:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(places, '0')}"
