"""What a catalogue offers is found by its name, in the newest version unless one is named."""

from decimal import Decimal

from services.rater.pricing import FlatCharge
from services.rater.pricing.discounts import DiscountSchedule, DiscountTier
from services.rater.quotes.offers import Offer, Offers
from services.rater.tokens import TokenPrices
from tests.services.rater.quotes.asking import OFFERS, quoted


def offer(plan: str, version: int) -> Offer:
    charge = FlatCharge(code="fee", amount=Decimal(version))
    return Offer(plan, version, "EUR", (charge,), "included")


def schedule(percent: int) -> DiscountSchedule:
    return DiscountSchedule("executions", [DiscountTier(None, Decimal(percent))])


MANY = Offers(
    [offer("b", 10), offer("a", 1), offer("b", 9)],
    {("half", 10): schedule(50), ("half", 9): schedule(40)},
    TokenPrices(),
)


def test_a_plan_is_found_in_its_newest_version_or_the_one_that_is_named() -> None:
    assert (MANY.plan("b"), MANY.plan("b@9")) == (offer("b", 10), offer("b", 9))
    assert (MANY.plan("c"), MANY.plan("b@8")) == (None, None)
    assert [quoted({"plan": plan}, MANY)["total"] for plan in ("b", "b@9")] == ["10.00", "9.00"]


def test_a_plan_is_quoted_in_its_own_currency() -> None:
    assert quoted({"plan": "a"}, MANY)["currency"] == "EUR"
    assert quoted({"plan": "a", "currency": "EUR"}, MANY)["currency"] == "EUR"


def test_in_force_is_the_newest_version_of_each_plan() -> None:
    assert MANY.in_force() == [offer("a", 1), offer("b", 10)]


def test_a_schedule_is_found_likewise() -> None:
    assert (MANY.schedule("half"), MANY.schedule("half@9")) == (schedule(50), schedule(40))
    assert MANY.schedule("other") is None


def test_the_shipped_plans_say_who_pays_for_tokens() -> None:
    payers = {one.plan for one in OFFERS.in_force() if one.customer_pays_tokens}
    assert payers == {"byok", "byok_pro"}
