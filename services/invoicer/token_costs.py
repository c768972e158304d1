"""What customers pay to Anthropic themselves, by model: shown, and in no amount due. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from typing_extensions import TypedDict

from shared.money import EXACT, plain, with_minor_unit

ZERO = Decimal(0)
_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What a million tokens cost each way, in the currency's major unit."""

    currency: str
    input_per_million: Decimal
    output_per_million: Decimal


@dataclass(frozen=True, slots=True)
class TokenCost:
    """A model's tokens in a month and their exact cost; no currency: no price is known."""

    model: str
    input_tokens: Decimal
    output_tokens: Decimal
    currency: str | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that were used at one price; it is named ``model@`` and its first moment."""

    price: str
    is_input: bool
    quantity: Decimal


def token_costs(used: Iterable[Tokens], prices: Mapping[str, TokenPrice]) -> list[TokenCost]:
    """Add up tokens and their cost by model and currency, in the order of their names."""
    found: dict[tuple[str, str], TokenCost] = {}
    for tokens in used:
        model = tokens.price.rpartition("@")[0]
        price = prices.get(tokens.price)
        currency = None if price is None else price.currency
        before = found.get((model, currency or ""), TokenCost(model, ZERO, ZERO, currency, ZERO))
        found[model, currency or ""] = _with(before, tokens, price)
    return [found[key] for key in sorted(found)]


def _with(before: TokenCost, tokens: Tokens, price: TokenPrice | None) -> TokenCost:
    each = ZERO
    if price is not None:
        each = price.input_per_million if tokens.is_input else price.output_per_million
    cost = EXACT.multiply(EXACT.multiply(tokens.quantity, each), _MILLIONTH)
    added = (tokens.quantity, ZERO) if tokens.is_input else (ZERO, tokens.quantity)
    return TokenCost(
        before.model,
        EXACT.add(before.input_tokens, added[0]),
        EXACT.add(before.output_tokens, added[1]),
        before.currency,
        EXACT.add(before.amount, cost),
    )


class TokenCostDocument(TypedDict):
    """A model's tokens of the month, and what the customer pays to Anthropic for them: exact,
    and in no amount due. Without a currency no price is known.
    """

    model: str
    input_tokens: str
    output_tokens: str
    currency: str | None
    cost: str | None


def token_cost_document(cost: TokenCost) -> TokenCostDocument:
    """Give a cost as it is kept and told."""
    return {
        "model": cost.model,
        "input_tokens": plain(cost.input_tokens),
        "output_tokens": plain(cost.output_tokens),
        "currency": cost.currency,
        "cost": None if cost.currency is None else with_minor_unit(cost.amount, cost.currency),
    }


def sums(costs: Iterable[TokenCost]) -> dict[str, Decimal]:
    """Add up what has a price, by currency."""
    found: dict[str, Decimal] = {}
    for cost in costs:
        if cost.currency is not None:
            found[cost.currency] = EXACT.add(found.get(cost.currency, ZERO), cost.amount)
    return found
