"""The numbers of the price page, as data: what is due for each plan at each scenario. Pure.

They are typed out, never computed, so that a test against them is worth something. Amounts
are whole US cents for one month. Source: the pricing page of bizbot.store; where it contradicts
itself, the settled figure stands here.
"""

from decimal import Decimal
from typing import NamedTuple

CURRENCY = "USD"
MODEL = "claude-sonnet-4"
INPUT_TOKENS = 1_000
"""Input tokens of each execution in the scenarios."""
OUTPUT_TOKENS = 500
"""Output tokens of each execution in the scenarios."""

PLANS = ("byok", "byok_pro", "solo", "basic", "standard", "premium")
EXECUTIONS = (1_000, 5_000, 10_000, 50_000, 100_000)
"""Succeeded executions in a month, the scenarios' one by one."""

AMOUNT_DUE_CENTS = {
    "byok": (2_00, 10_00, 20_00, 100_00, 200_00),
    "byok_pro": (20_00, 24_00, 29_00, 69_00, 119_00),
    "solo": (8_00, 40_00, 80_00, 400_00, 800_00),
    "basic": (12_00, 60_00, 120_00, 600_00, 1_200_00),
    "standard": (56_00, 280_00, 560_00, 2_800_00, 5_600_00),
    "premium": (89_60, 448_00, 896_00, 4_480_00, 8_960_00),
}
"""What the plan's invoice says, a scenario each. Tokens never enter it."""

TOKEN_COST_CENTS = (10_50, 52_50, 105_00, 525_00, 1_050_00)
"""What the model's maker charges for the tokens of each scenario."""

TOTAL_CENTS = {
    "byok": (12_50, 62_50, 125_00, 625_00, 1_250_00),
    "byok_pro": (30_50, 76_50, 134_00, 594_00, 1_169_00),
    "solo": (8_00, 40_00, 80_00, 400_00, 800_00),
    "basic": (12_00, 60_00, 120_00, 600_00, 1_200_00),
    "standard": (56_00, 280_00, 560_00, 2_800_00, 5_600_00),
    "premium": (89_60, 448_00, 896_00, 4_480_00, 8_960_00),
}
"""What the customer pays in all: the amount due, and the tokens where they are not included."""

TOKENS_PAID_BY_CUSTOMER = frozenset({"byok", "byok_pro"})
"""Plans whose customers pay for the tokens themselves."""

BYOK_PRO_FEE_CENTS = 19_00
"""The recurring fee within `AMOUNT_DUE_CENTS["byok_pro"]`."""

BYOK_COMPONENTS = {
    "infrastructure": Decimal("0.0005"),
    "security": Decimal("0.0003"),
    "features": Decimal("0.0007"),
    "support": Decimal("0.0005"),
}
"""What BYOK's price of 0.002 dollars an execution is made of."""

DISCOUNT = "volume-50k"
BYOK_AT_100_000_DISCOUNTED_CENTS = 190_00
"""BYOK under `DISCOUNT`: 50,000 at 0.002 and 50,000 at 0.0018 dollars."""

TOKEN_PRICES = {
    "claude-haiku-3.5": (Decimal("0.80"), Decimal("4.00")),
    "claude-sonnet-4": (Decimal("3.00"), Decimal("15.00")),
    "claude-sonnet-4.5": (Decimal("3.00"), Decimal("15.00")),
    "claude-opus-4.1": (Decimal("15.00"), Decimal("75.00")),
}
"""US dollars for a million input and output tokens."""

BREAK_EVEN_EXECUTIONS = 19_000
"""Where BYOK and BYOK Pro are due the same."""


class Fact(NamedTuple):
    """One cell of the page's table: a plan in a scenario."""

    plan: str
    executions: int
    amount_due_cents: int
    token_cost_cents: int
    total_cents: int


FACTS = tuple(
    Fact(
        plan,
        executions,
        AMOUNT_DUE_CENTS[plan][scenario],
        TOKEN_COST_CENTS[scenario],
        TOTAL_CENTS[plan][scenario],
    )
    for plan in PLANS
    for scenario, executions in enumerate(EXECUTIONS)
)
"""All thirty cells."""
