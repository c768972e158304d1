"""Reads what there is to quote or compare: a catalogue, a month. I/O: Postgres, a file."""

from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.catalogue import store
from services.rater.catalogue.document import read_catalogue
from services.rater.pricing.discounts import DiscountSchedule
from services.rater.quotes.compare_request import (
    CompareRequest,
    month_of_customer,
    period_of,
)
from services.rater.quotes.comparison import ComparedMonth
from services.rater.quotes.offers import Offer, Offers, offers_of
from services.rater.terms import PlanTerms
from services.rater.tokens import TokenPrice, TokenPrices
from services.rater.usage.reading import read_month
from shared.periods import Period
from shared.tables.rater import PlanVersion


async def read_offers(session: AsyncSession) -> Offers:
    """Read all that is applied, every version of it."""
    found = await store.in_force(session)
    return Offers(
        [_offer(row) for row in found.plans],
        {
            (row.schedule, row.version): msgspec.convert(row.definition, DiscountSchedule)
            for row in found.schedules
        },
        TokenPrices(
            TokenPrice(
                row.model,
                row.effective_from,
                row.currency,
                row.input_per_million,
                row.output_per_million,
            )
            for row in found.prices
        ),
    )


def _offer(row: PlanVersion) -> Offer:
    terms = msgspec.convert(row.definition, PlanTerms)
    return Offer(row.plan, row.version, row.currency, tuple(terms.charges), terms.tokens)


def read_offers_of_file(file: Path) -> Offers:
    """Read what a catalogue file offers; raise `InvalidCatalogueError` where it is not valid."""
    return offers_of(read_catalogue(file.read_text(encoding="utf-8"), name=file.name))


async def read_compared_month(
    session: AsyncSession, customer_id: str, request: CompareRequest, now: datetime
) -> ComparedMonth:
    """Read a customer's month; call it first in a session."""
    period = period_of(request, Period.of(now))
    return month_of_customer(await read_month(session, customer_id, period))
