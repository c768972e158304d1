"""What a catalogue offers: plans in all versions, discount schedules, token prices. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.rater.catalogue.document import Catalogue
from services.rater.pricing import Charge
from services.rater.pricing.discounts import DiscountSchedule
from services.rater.tokens import TokenPrice, TokenPrices


@dataclass(frozen=True, slots=True)
class Offer:
    """One version of a plan."""

    plan: str
    version: int
    currency: str
    charges: tuple[Charge, ...]
    tokens: str

    @property
    def customer_pays_tokens(self) -> bool:
        """Tell whether the customer pays the model's maker for the tokens."""
        return self.tokens == "paid_by_customer"


class Offers:
    """Everything that can be quoted. A name alone means the newest version of it."""

    def __init__(
        self,
        plans: Sequence[Offer],
        schedules: Mapping[tuple[str, int], DiscountSchedule],
        prices: TokenPrices,
    ) -> None:
        self.prices = prices
        self._newest = {one.plan: one for one in sorted(plans, key=lambda one: one.version)}
        self._plans = {f"{one.plan}@{one.version}": one for one in plans} | self._newest
        self._schedules = {f"{name}@{version}": one for (name, version), one in schedules.items()}
        for (name, _), schedule in sorted(schedules.items(), key=lambda item: item[0]):
            self._schedules[name] = schedule

    def plan(self, name: str) -> Offer | None:
        """Find ``plan`` or ``plan@version``."""
        return self._plans.get(name)

    def schedule(self, name: str) -> DiscountSchedule | None:
        """Find ``schedule`` or ``schedule@version``."""
        return self._schedules.get(name)

    def in_force(self) -> list[Offer]:
        """Give the newest version of each plan, by name."""
        return [self._newest[name] for name in sorted(self._newest)]


def offers_of(catalogue: Catalogue) -> Offers:
    """Give what a catalogue file offers by itself, without what is applied already."""
    plans = [
        Offer(name, plan.version, plan.currency, tuple(plan.charges), plan.tokens)
        for name, plan in catalogue.plans.items()
    ]
    schedules = {
        (name, one.version): DiscountSchedule(one.charge, one.tiers, one.description, one.mode)
        for name, one in catalogue.discount_schedules.items()
    }
    prices = TokenPrices(
        TokenPrice(
            model,
            price.effective_from,
            price.currency,
            price.input_per_million,
            price.output_per_million,
        )
        for model, of_model in catalogue.models.items()
        for price in of_model
    )
    return Offers(plans, schedules, prices)
