"""The HTTP twin of the command: a customer's month as it stands."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from services.rater.routes import Finance, Session
from services.rater.usage.document import UsageDocument, usage_document
from services.rater.usage.reading import read_month
from shared.periods import Period

router = APIRouter(prefix="/v1", tags=["usage"])

PeriodQuery = Annotated[str | None, Query(description="`YYYY-MM`; without: the present month")]


@router.get("/customers/{customer_id}/usage")
async def show_usage(
    _key: Finance, session: Session, customer_id: str, period: PeriodQuery = None
) -> UsageDocument:
    """Give what a customer has used and owes in a month so far, and what the tokens cost."""
    month = Period.of(datetime.now(UTC)) if period is None else Period.parse(period)
    return usage_document(await read_month(session, customer_id, month))
