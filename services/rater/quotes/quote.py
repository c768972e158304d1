"""Answers a quote: a line a band, priced as the rater prices, and what they come to. Pure."""

from decimal import Decimal
from functools import reduce

from typing_extensions import TypedDict

from services.rater.quotes.lines import (
    LineDocument,
    components_of,
    line_document,
    money,
    priced_lines,
)
from services.rater.quotes.request import QuoteRequest
from shared.money import EXACT, plain

ZERO = Decimal(0)


class QuoteDocument(TypedDict):
    """What was asked would cost; `total` is the sum of the lines' rounded amounts."""

    currency: str
    lines: list[LineDocument]
    exact_total: str
    total: str


def quote(request: QuoteRequest) -> QuoteDocument:
    """Price a request. Numbers within their bounds never need more digits than are kept."""
    currency = request.currency
    lines = priced_lines(request.charges, request.usage, currency)
    exact_total = reduce(EXACT.add, (line.band.amount for line in lines), ZERO)
    return {
        "currency": currency,
        "lines": [
            line_document(
                line.charge.code, line.band, line.minor, currency, components_of(line.charge)
            )
            for line in lines
        ],
        "exact_total": plain(exact_total),
        "total": money(sum(line.minor for line in lines), currency),
    }
