"""What an invoice line says of itself, for a person. Pure."""

import re
from collections.abc import Sequence
from decimal import Decimal

from services.invoicer.fee_days import fee_days
from shared.money import plain, with_minor_unit

_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_RANGE = re.compile(r"(\S+) to (\S+)(.*)")
_PACKAGES = re.compile(r"packages of (\S+)")
_WHOLE = "all"
LONGEST = 500
"""Characters of the longest description that Stripe takes."""


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
    """Write a line's description: ``byok_pro · executions · 50,000 × $0.001 (exact 50)``.

    A discount, minimum or maximum has an amount and nothing that it is the product of. What is
    too long loses the end of its names, never a digit.
    """
    packages = _PACKAGES.fullmatch(band)
    parts = [plan, charge]
    if band != _WHOLE and not packages:
        days = fee_days(band, usage_period)
        parts.append(_band(band) if days is None else f"{_band(band)} ({days})")
    if kind == "adjustment":
        parts.append("adjustment")
    if usage_period != posting_period:
        parts.append(f"late usage of {usage_period}")
    arithmetic = f" (exact {plain(exact_amount)})"
    if quantity or unit_price:
        counted = _packages(quantity, packages[1]) if packages else grouped(quantity)
        arithmetic = f" · {counted} × {price_text(unit_price, currency)}{arithmetic}"
    return " · ".join(parts)[: LONGEST - len(arithmetic)] + arithmetic


def describe_several(
    *,
    plan: str | None,
    charge: str | None,
    kind: str,
    count: int,
    months: Sequence[str],
    posting_period: str,
    exact_amount: Decimal,
) -> str:
    """Write the description of a line that stands for several.

    ``byok_pro · executions · 300 lines of the detail file (exact 50)``; None: not the same for
    all of them.
    """
    parts = [
        plan or "all contracts",
        charge or ("all fees" if kind == "recurring" else "all usage"),
    ]
    if kind == "adjustment":
        parts.append("adjustment")
    if len(months) > 1:
        parts.append(f"{months[0]} to {months[-1]}")
    elif months[0] != posting_period:
        parts.append(f"late usage of {months[0]}")
    arithmetic = f" · {grouped(Decimal(count))} lines of the detail file"
    arithmetic += f" (exact {plain(exact_amount)})"
    return " · ".join(parts)[: LONGEST - len(arithmetic)] + arithmetic


def describe_carried(period: str) -> str:
    """Write the description of an amount that an earlier month's invoice left."""
    return f"carried forward from {period}"


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


def _packages(count: Decimal, size: str) -> str:
    word = "package" if abs(count) == 1 else "packages"
    return f"{grouped(count)} {word} of {grouped(Decimal(size))}"


def _band(label: str) -> str:
    """Write ``0 to 50000`` as the units it holds, ``1–50000``; days and others as they are."""
    found = _RANGE.fullmatch(label)
    if found is None or found[1] in ("days", "day"):
        return label
    below, up_to, rest = found.groups()
    if not below.isdigit():
        return label
    return f"{int(below) + 1}–{up_to}{rest}"
