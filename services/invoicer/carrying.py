"""Totals that are not sent as an invoice, but go onto the customer's next one. Pure.

Stripe charges no less than a minimum in each currency; an invoice for less would be marked as
paid there and its amount moved to the customer's balance, out of sight of the books. And it
takes no invoice with a negative total. Such a total is carried forward: the customer's next
invoice in the currency has a line of exactly that amount. Where no contract in the currency runs on
there may be no next one: then the minimum is no more than Stripe's own, and what comes to that is
invoiced by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from shared.errors import WrongUseError
from shared.money import UnknownCurrencyError, from_minor, minor_unit_places, with_minor_unit

CARRIED = "carried_forward"
"""The state of an invoice whose total goes onto the next, and the kind of the line there."""

UNSENT = ("skipped_zero", CARRIED)
"""The states of invoices that are not meant for Stripe."""

STRIPE_MINIMUMS = {
    "AUD": Decimal("0.50"), "CAD": Decimal("0.50"), "CHF": Decimal("0.50"), "CZK": Decimal(15),
    "DKK": Decimal("2.50"), "EUR": Decimal("0.50"), "GBP": Decimal("0.30"), "HKD": Decimal(4),
    "INR": Decimal("0.50"), "JPY": Decimal(50), "MXN": Decimal(10), "NOK": Decimal(3),
    "NZD": Decimal("0.50"), "PLN": Decimal(2), "SEK": Decimal(3), "SGD": Decimal("0.50"),
    "USD": Decimal("0.50"),
}  # fmt: skip
"""The least that Stripe charges, where it says so, in major units.

Source: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts.
"""


@dataclass(frozen=True, slots=True)
class Carried:
    """An amount, in minor units, that an earlier invoice leaves to the next one."""

    invoice_id: str
    period: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Minimums:
    """The least total that is sent, by currency, in major units."""

    by_currency: Mapping[str, Decimal]

    @classmethod
    def read(cls, own: str | None) -> "Minimums":
        """Put one's own minimums, ``USD=1.00,JPY=100``, in the place of Stripe's.

        Raises `WrongUseError` for anything else.
        """
        found = dict(STRIPE_MINIMUMS)
        for part in (own or "").split(","):
            if part.strip():
                currency, least = _read_minimum(part.strip())
                found[currency] = least
        return cls(found)

    def least(self, currency: str, *, is_last: bool = False) -> Decimal:
        """Give the least total that is sent in a currency, in major units.

        `is_last`: no more is to come for the customer, so that one's own minimum is none.
        """
        least = self.by_currency.get(currency, Decimal(0))
        return min(least, STRIPE_MINIMUMS.get(currency, Decimal(0))) if is_last else least


def _read_minimum(text: str) -> tuple[str, Decimal]:
    currency, _, amount = text.partition("=")
    try:
        minor_unit_places(currency)
        least = Decimal(amount)
    except UnknownCurrencyError as error:
        raise WrongUseError(f"TALLYBOOK_INVOICE_MINIMUMS: {error}") from None
    except InvalidOperation:
        least = Decimal("NaN")
    if not least.is_finite() or least < 0:
        raise WrongUseError(
            f"TALLYBOOK_INVOICE_MINIMUMS: {text!r} is no minimum; write such as USD=1.00,JPY=100"
        )
    return currency, least


def unsent_state(total_minor: int, currency: str, least: Decimal) -> tuple[str, str] | None:
    """Give state and reason of an invoice that is not to be sent; None where it is."""
    if total_minor == 0:
        return "skipped_zero", "nothing is due"
    if total_minor < 0:
        return CARRIED, "the total is a credit: the next invoice takes it up"
    if from_minor(total_minor, currency) < least:
        shown = with_minor_unit(least, currency)
        return CARRIED, f"the total is below {shown} {currency}: the next invoice takes it up"
    return None
