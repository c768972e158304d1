"""What a month's tokens cost at their makers' prices, each at its event's time. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.rater.tallying import UsageKey
from services.rater.tokens import INPUT_TOKENS, OUTPUT_TOKENS, PRICED, TokenPrices
from shared.money import EXACT

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class TokenCost:
    """The exact cost of one model's tokens at one price; no currency where it has no price."""

    contract_id: str
    model: str
    currency: str | None
    amount: Decimal


def token_costs(totals: Mapping[UsageKey, Decimal], prices: TokenPrices) -> list[TokenCost]:
    """Price the running totals that are kept by the price in force at the events' time."""
    tokens: dict[tuple[str, str], dict[str, Decimal]] = {}
    for key, quantity in totals.items():
        if key.dimension == PRICED and quantity:
            tokens.setdefault((key.contract_id, key.value), {})[key.meter] = quantity
    costs = []
    for (contract_id, name), used in sorted(tokens.items()):
        model = name.rpartition("@")[0]
        price = prices.by_name.get(name)
        if price is None:
            costs.append(TokenCost(contract_id, model, None, ZERO))
        else:
            amount = price.cost(used.get(INPUT_TOKENS, ZERO), used.get(OUTPUT_TOKENS, ZERO))
            costs.append(TokenCost(contract_id, model, price.currency, amount))
    return costs


def unpriced_models(costs: Iterable[TokenCost]) -> list[str]:
    """Name the models of which some tokens have no price."""
    return sorted({cost.model for cost in costs if cost.currency is None})


def costs_by_currency(costs: Iterable[TokenCost]) -> dict[str, Decimal]:
    """Add up what has a price, exactly."""
    sums: dict[str, Decimal] = {}
    for cost in costs:
        if cost.currency is not None:
            sums[cost.currency] = EXACT.add(sums.get(cost.currency, ZERO), cost.amount)
    return sums
