"""The examples in the documents do what the documents say."""

import json
import re
from decimal import Decimal
from pathlib import Path

from services.rater.catalogue.document import read_catalogue
from services.rater.catalogue.overrides import read_overrides
from services.rater.metering import by_event_type
from services.rater.pricing import Coverage, is_metered, price, total
from services.rater.tallying import UsageKey, UsageTally
from services.rater.tokens import TokenPrices
from shared.event_data import read_data
from shared.events import read_event
from shared.periods import Period
from tests.services.rater.factories import shipped_catalogue, used

DOCS = Path(__file__).parents[2] / "docs"
MONTH = Period(2026, 11)


def block(page: str, language: str, number: int = 0) -> str:
    """Give a fenced block of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return str(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number])


def test_events_of_your_own_cost_what_the_page_says() -> None:
    page = "how-to/price-other-events.md"
    catalogue = read_catalogue(block(page, "yaml"), name="video.yaml")
    event = read_event(json.dumps(json.loads(block(page, "json"))).encode())
    meters = by_event_type(catalogue.meters)[event.type]
    tally = UsageTally()
    reading = meters.read(read_data(event))
    tally.add(used(MONTH.start, meters, reading), ["con_1"], TokenPrices())
    quantities = tally.change(TokenPrices()).totals()
    costs = {
        charge.code: total(
            price(
                charge,
                quantities[UsageKey("con_1", str(MONTH), charge.meter, "", "")]
                if is_metered(charge)
                else Decimal(0),
                Coverage.whole(MONTH),
            )
        )
        for charge in catalogue.plans["studio"].charges
    }
    assert costs == {"base": 49, "rendering": Decimal("2.125"), "seats": 12, "quality": 25}


def test_a_contracts_own_prices_can_be_read() -> None:
    charges = shipped_catalogue().plans["byok_pro"].charges
    found = read_overrides(
        block("reference/catalogue.md", "yaml"), name="overrides", charges=charges
    )
    assert [charge.code for charge in found] == ["subscription", "executions"]
    assert total(price(found[1], Decimal(20_000), Coverage.whole(MONTH))) == 18
