"""What an invoice line says of itself, for a person. Pure."""

import re
from decimal import Decimal

from shared.money import plain, with_minor_unit

_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_RANGE = re.compile(r"(\S+) to (\S+)(.*)")
_WHOLE = "all"
LONGEST = 500


def describe(
    *,
    plan: str,
    charge: str,
    band: str,
    kind: str,
    usage_period: str,
    posting_period: str,
    quantity: Decimal,
    unit_price: Decimal,
    exact_amount: Decimal,
    currency: str,
) -> str:
    """Write a line's description: ``byok_pro · executions · 50,000 × $0.001 (exact 50)``."""
    parts = [plan, charge]
    if band != _WHOLE:
        parts.append(_band(band))
    if kind == "adjustment":
        parts.append("adjustment")
    if usage_period != posting_period:
        parts.append(f"late usage of {usage_period}")
    price = price_text(unit_price, currency)
    parts.append(f"{grouped(quantity)} × {price} (exact {plain(exact_amount)})")
    return " · ".join(parts)[:LONGEST]


def price_text(price: Decimal, currency: str) -> str:
    """Write a price in full, with the currency's sign or code: ``$0.001``, ``CHF 2.00``."""
    amount = with_minor_unit(abs(price), currency)
    sign = "-" if price < 0 else ""
    return f"{sign}{_SYMBOLS.get(currency, currency + ' ')}{amount}"


def grouped(quantity: Decimal) -> str:
    """Write a quantity with commas between thousands: ``50,000``."""
    whole, dot, fraction = plain(quantity).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}{dot}{fraction}"


def _band(label: str) -> str:
    """Write ``0 to 50000`` as the units it holds, ``1–50000``; days and others as they are."""
    found = _RANGE.fullmatch(label)
    if found is None or found[1] in ("days", "day"):
        return label
    below, up_to, rest = found.groups()
    if not below.isdigit():
        return label
    return f"{int(below) + 1}–{up_to}{rest}"
