"""The JSON of a customer's month: the same over HTTP and from the command. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from typing_extensions import TypedDict

from services.rater.quotes.lines import LineDocument, components_of, line_document, money
from services.rater.terms import Contract
from services.rater.tokens import MODEL
from services.rater.usage.month import (
    CustomerMonth,
    PostedLine,
    Split,
    quantities,
    whole_quantities,
)
from services.rater.usage.token_costs import (
    TokenCost,
    costs_by_currency,
    token_costs,
    unpriced_models,
)
from shared.moments import format_moment
from shared.money import EXACT, allocate, plain, round_to_minor, with_minor_unit

_KEY = "key_label"
ZERO = Decimal(0)


class UsageLineDocument(LineDocument):
    """A line of the month's invoice as it would be now."""

    contract: str
    plan: str
    usage_period: str


class TokensDocument(TypedDict):
    """Who pays for a contract's tokens: the `customer`, or the `plan` that includes them."""

    plan: str
    paid_by: str
    token_cost: str


class UsageDocument(TypedDict):
    """A customer's month. `token_cost` is what all its tokens cost; it is in no amount due."""

    customer: str
    period: str
    as_of: str
    currency: str
    meters: dict[str, str]
    by_model: dict[str, dict[str, str | None]]
    by_key: dict[str, dict[str, str]]
    lines: list[UsageLineDocument]
    amount_due: str
    token_cost: str
    tokens: dict[str, TokensDocument]
    unpriced_models: list[str]
    other_token_costs: dict[str, str]


def usage_document(month: CustomerMonth) -> UsageDocument:
    """Describe a month: quantities from running totals, lines from line items."""
    currency = month.currency
    costs = token_costs(month.totals, month.prices)
    by_currency = costs_by_currency(costs)
    lines = [_line(line, month) for line in month.posted if line.band.quantity or line.band.amount]
    token_minor = round_to_minor(by_currency.pop(currency, ZERO), currency)
    split = quantities(month)
    return {
        "customer": month.customer_id,
        "period": str(month.period),
        "as_of": format_moment(month.as_of) or "",
        "currency": currency,
        "meters": {meter: plain(one) for meter, one in whole_quantities(month).items()},
        "by_model": _by_model(split, costs, token_minor, currency),
        "by_key": {value: dict(of_key) for value, of_key in _by(_KEY, split).items()},
        "lines": [document for document, _ in lines],
        "amount_due": money(sum(minor for _, minor in lines), currency),
        "token_cost": money(token_minor, currency),
        "tokens": _tokens(month, costs, token_minor),
        "unpriced_models": unpriced_models(costs),
        "other_token_costs": {
            other: with_minor_unit(cost, other) for other, cost in sorted(by_currency.items())
        },
    }


def _line(line: PostedLine, month: CustomerMonth) -> tuple[UsageLineDocument, int]:
    contract = next(one for one in month.contracts if one.id == line.contract_id)
    components: Mapping[str, Decimal] = {}
    for charge in contract.charges:
        if charge.code == line.charge:
            components = components_of(charge)
    minor = round_to_minor(line.band.amount, month.currency)
    document: UsageLineDocument = {
        **line_document(line.charge, line.band, minor, month.currency, components),
        "contract": contract.id,
        "plan": contract.plan,
        "usage_period": line.usage_period,
    }
    return document, minor


def _by(dimension: str, split: Mapping[Split, Decimal]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for part, quantity in sorted(split.items()):
        if part.dimension == dimension and quantity:
            found.setdefault(part.value, {})[part.meter] = plain(quantity)
    return dict(sorted(found.items()))


def _by_model(
    split: Mapping[Split, Decimal], costs: Sequence[TokenCost], token_minor: int, currency: str
) -> dict[str, dict[str, str | None]]:
    """Split by model, each with what its tokens cost; together they cost the month's whole."""
    shares = _shares(token_minor, currency, ((one.model, one) for one in costs))
    found: dict[str, dict[str, str | None]] = {}
    for model, meters in _by(MODEL, split).items():
        cost = money(shares[model], currency) if model in shares else None
        found[model] = {**meters, "token_cost": cost}
    return found


def _tokens(
    month: CustomerMonth, costs: Sequence[TokenCost], token_minor: int
) -> dict[str, TokensDocument]:
    shares = _shares(token_minor, month.currency, ((one.contract_id, one) for one in costs))
    return {
        contract.id: {
            "plan": contract.plan,
            "paid_by": "customer" if month.tokens[contract.id] == "paid_by_customer" else "plan",
            "token_cost": money(shares.get(contract.id, 0), month.currency),
        }
        for contract in _of_month(month)
    }


def _of_month(month: CustomerMonth) -> Iterable[Contract]:
    """Give the contracts that touch the month."""
    return (one for one in month.contracts if one.coverage(month.period) is not None)


def _shares(
    token_minor: int, currency: str, costs: Iterable[tuple[str, TokenCost]]
) -> dict[str, int]:
    """Share the rounded cost out, so that the parts add up to it; by the name given to each."""
    exact: dict[str, Decimal] = {}
    for name, cost in costs:
        if cost.currency == currency:
            exact[name] = EXACT.add(exact.get(name, ZERO), cost.amount)
    if not exact:
        return {}
    return dict(zip(exact, allocate(token_minor, list(exact.values())), strict=True))
