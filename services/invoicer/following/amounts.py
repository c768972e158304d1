"""The amounts of a credit. Pure."""

from decimal import Decimal

from shared.errors import InvalidInputError
from shared.money import EXACT, minor_unit_places


def credit_minor(amount: Decimal, currency: str) -> int:
    """Give an amount in minor units; raises `InvalidInputError` where it is none to credit."""
    places = minor_unit_places(currency)
    minor = EXACT.scaleb(amount, places) if amount.is_finite() else amount
    if not minor.is_finite() or minor <= 0 or minor != minor.to_integral_value():
        raise InvalidInputError(
            f"{amount} is no amount to credit: write one above 0, with at most {places} decimals"
        )
    return int(minor)


def to_balance(amount: int, status: str | None, remaining: int) -> int:
    """Give the part of a credit that is paid already, and so goes to the customer's balance.

    The rest lowers what is still to be paid; all in minor units.
    """
    return amount if status == "paid" else max(0, amount - remaining)
