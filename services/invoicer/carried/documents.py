"""The JSON of what was carried forward and waits: the same over HTTP and from the command. Pure."""

from collections.abc import Iterable

from typing_extensions import TypedDict

from services.invoicer.carried.balances import Balance, Fate
from services.invoicer.carrying import Minimums
from shared.money import from_minor, with_minor_unit


class BalanceDocument(TypedDict):
    """What of a customer's waits in a currency, since which month, and what becomes of it."""

    customer: str
    currency: str
    amount: str
    since: str
    invoices: list[str]
    contract_ended: bool
    becomes: Fate


class BalancesDocument(TypedDict):
    """What was carried forward and is on no invoice yet, by customer and currency."""

    carried: list[BalanceDocument]


def balances_document(balances: Iterable[Balance], minimums: Minimums) -> BalancesDocument:
    """Describe what waits."""
    return {"carried": [balance_document(one, minimums) for one in balances]}


def balance_document(balance: Balance, minimums: Minimums) -> BalanceDocument:
    """Describe what of a customer's waits."""
    amount = from_minor(balance.amount_minor, balance.currency)
    return {
        "customer": balance.customer_id,
        "currency": balance.currency,
        "amount": with_minor_unit(amount, balance.currency),
        "since": balance.since,
        "invoices": list(balance.invoices),
        "contract_ended": balance.is_last,
        "becomes": balance.fate(minimums),
    }
