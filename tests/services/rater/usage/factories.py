"""Builds customers' months: contracts, running totals and posted lines. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.rater.pricing import Band, UnitCharge
from services.rater.tallying import UsageKey
from services.rater.terms import Contract
from services.rater.tokens import PRICED, TokenPrice, TokenPrices
from services.rater.usage.month import CustomerMonth, PostedLine
from shared.periods import Period
from tests.services.rater.factories import contract

PERIOD = Period(2026, 10)
SWITCH = datetime(2026, 10, 16, tzinfo=UTC)
BYOK = UnitCharge(
    code="executions",
    meter="executions",
    unit_price=Decimal("0.002"),
    components={"a": Decimal("0.001"), "b": Decimal("0.001")},
)
FIRST = contract(BYOK, contract_id="con_1", ends_at=SWITCH)
SECOND = contract(contract_id="con_2", starts_at=SWITCH)
AGGREGATES = {
    "executions": "count",
    "input_tokens": "sum",
    "output_tokens": "sum",
    "peak": "max",
    "users": "unique_count",
}
OLD = TokenPrice("sonnet", datetime(2026, 1, 1, tzinfo=UTC), "USD", Decimal(3), Decimal(15))
NEW = TokenPrice("sonnet", datetime(2026, 10, 10, tzinfo=UTC), "USD", Decimal(6), Decimal(30))
HAIKU = TokenPrice("haiku", datetime(2026, 1, 1, tzinfo=UTC), "USD", Decimal(1), Decimal(5))
EURO = TokenPrice("mistral", datetime(2026, 1, 1, tzinfo=UTC), "EUR", Decimal(2), Decimal(6))
PRICES = TokenPrices([OLD, NEW, HAIKU, EURO])


def key(contract_id: str, meter: str, dimension: str = "", value: str = "") -> UsageKey:
    """Name a running total of the month."""
    return UsageKey(contract_id, str(PERIOD), meter, dimension, value)


def tokens(
    price_name: str, input_tokens: int, output_tokens: int, contract_id: str = "con_1"
) -> dict[UsageKey, Decimal]:
    """Make the running totals of tokens at one price."""
    return {
        key(contract_id, "input_tokens", PRICED, price_name): Decimal(input_tokens),
        key(contract_id, "output_tokens", PRICED, price_name): Decimal(output_tokens),
    }


def posted(
    quantity: str,
    unit_price: str,
    amount: str,
    *,
    contract_id: str = "con_1",
    charge: str = "executions",
    band: str = "all",
    usage_period: str = "2026-10",
) -> PostedLine:
    """Make a sum of line items."""
    whole = Band(band, Decimal(quantity), Decimal(unit_price), Decimal(amount))
    return PostedLine(contract_id, charge, whole, usage_period)


def month(
    totals: Mapping[UsageKey, Decimal] | None = None,
    posted: Sequence[PostedLine] = (),
    contracts: Sequence[Contract] = (FIRST, SECOND),
    **given: Any,
) -> CustomerMonth:
    """Make a month of a customer who switched in the middle of it."""
    whole: dict[str, Any] = {
        "customer_id": "customer-1",
        "currency": "USD",
        "period": PERIOD,
        "as_of": datetime(2026, 10, 20, 12, tzinfo=UTC),
        "contracts": contracts,
        "tokens": {"con_1": "paid_by_customer", "con_2": "included"},
        "aggregates": AGGREGATES,
        "totals": totals or {},
        "distinct": {},
        "prices": PRICES,
        "posted": posted,
    }
    return CustomerMonth(**{**whole, **given})
