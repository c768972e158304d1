"""Asks for quotes and comparisons on the shipped catalogue. Pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.rater.catalogue.document import read_catalogue
from services.rater.quotes.compare_request import CompareRequest, check, month_of_totals
from services.rater.quotes.comparison import ComparisonDocument, compare
from services.rater.quotes.offers import Offers, offers_of
from services.rater.quotes.quote import QuoteDocument, quote
from services.rater.quotes.request import checked, read_asked
from shared.periods import Period
from tests import pricing_facts as page
from tests.services.rater.factories import shipped_catalogue

PRESENT = Period(2026, 10)
NOW = datetime(2026, 10, 12, tzinfo=UTC)
OFFERS = offers_of(shipped_catalogue())


def offers_in(text: str) -> Offers:
    """Read what a catalogue of a test offers."""
    return offers_of(read_catalogue(text, name="catalogue"))


def quoted(request: Any, offers: Offers = OFFERS) -> QuoteDocument:
    """Quote a request: a document, or the JSON itself."""
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    return quote(checked(read_asked(text), offers, PRESENT))


def compared(
    executions: int, exclude: Sequence[str] = (), offers: Offers = OFFERS, **more: Any
) -> ComparisonDocument:
    """Compare on executions of the price page's tokens each."""
    given = {
        "input_tokens": Decimal(executions * page.INPUT_TOKENS),
        "output_tokens": Decimal(executions * page.OUTPUT_TOKENS),
        "model": page.MODEL,
        **more,
    }
    request = CompareRequest(executions=Decimal(executions), exclude=list(exclude), **given)
    check(request)
    return compare(offers, month_of_totals(request, offers, NOW), request.exclude)


def cents(amount: str) -> int:
    """Read an amount of dollars, written with its cents."""
    assert amount[-3] == "."
    return int(amount.replace(".", ""))
