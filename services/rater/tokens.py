"""What the models' makers charge for tokens: looked up by model and time. Pure.

Tokens are metered and priced for information; their cost is in no amount due. The meters
`input_tokens` and `output_tokens`, where they have the dimension `model`, are also kept by the
price that was in force at the event's time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from shared.moments import format_moment
from shared.money import EXACT
from shared.periods import Period

INPUT_TOKENS = "input_tokens"
OUTPUT_TOKENS = "output_tokens"
MODEL = "model"
PRICED = "model_price"
"""The dimension under which running totals are kept by model and price."""

_MILLIONTH = Decimal("0.000001")


class TokenPrice(msgspec.Struct, frozen=True):
    """What a million tokens of a model cost from a moment on, in the currency's major unit."""

    model: str
    effective_from: datetime
    currency: str
    input_per_million: Decimal
    output_per_million: Decimal

    @property
    def name(self) -> str:
        """Names the price in running totals: ``claude-sonnet-4@2025-05-22T00:00:00Z``."""
        return f"{self.model}@{format_moment(self.effective_from)}"

    def cost(self, input_tokens: Decimal, output_tokens: Decimal) -> Decimal:
        """Give the exact cost of tokens."""
        millions = EXACT.add(
            EXACT.multiply(input_tokens, self.input_per_million),
            EXACT.multiply(output_tokens, self.output_per_million),
        )
        return EXACT.multiply(millions, _MILLIONTH)


class TokenPrices:
    """All prices of all models."""

    def __init__(self, prices: Iterable[TokenPrice] = ()) -> None:
        self._by_model: dict[str, list[TokenPrice]] = {}
        for price in sorted(prices, key=lambda one: one.effective_from):
            self._by_model.setdefault(price.model, []).append(price)
        self.by_name = {one.name: one for of_model in self._by_model.values() for one in of_model}
        self._changes = sorted({price.effective_from for price in self.by_name.values()})

    def __contains__(self, model: object) -> bool:
        return model in self._by_model

    def models(self) -> list[str]:
        """Name the models that have a price."""
        return sorted(self._by_model)

    def in_force(self, model: str, moment: datetime) -> TokenPrice | None:
        """Give a model's price at a moment; None before its first, or for an unknown model."""
        prices = self._by_model.get(model, [])
        position = bisect_right(prices, moment, key=lambda price: price.effective_from)
        return prices[position - 1] if position else None

    def name_at(self, model: str, moment: datetime) -> str:
        """Name the price in force; ``model@`` where there is none."""
        price = self.in_force(model, moment)
        return f"{model}@" if price is None else price.name

    def segments(self, period: Period) -> list[datetime]:
        """Give the moments within a month from which all prices stay the same; first its start."""
        inside = [moment for moment in self._changes if period.start < moment < period.end]
        return [period.start, *inside]


def segment_of(segments: list[datetime], moment: datetime) -> datetime:
    """Give the segment of a month in which a moment lies."""
    if len(segments) == 1:
        return segments[0]
    return segments[bisect_right(segments, moment) - 1]
