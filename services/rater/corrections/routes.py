"""The HTTP interface of corrections; it takes keys with the scope `finance`."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.rater.corrections import documents, rerating, voiding
from services.rater.routes import Finance, Session
from shared.periods import Period
from shared.web import UtcMoment

router = APIRouter(prefix="/v1", tags=["corrections"])


class Void(BaseModel):
    """What to take back: one event by its id, or a source's events in a range of time."""

    model_config = ConfigDict(extra="forbid")

    source: str
    id: str | None = None
    since: UtcMoment | None = Field(None, alias="from")
    until: UtcMoment | None = Field(None, alias="to", description="first moment after it")
    reason: str = Field(description="kept with the events")

    @model_validator(mode="after")
    def _one_or_a_range(self) -> "Void":
        whole_range = self.since is not None and self.until is not None
        no_range = self.since is None and self.until is None
        if not (whole_range if self.id is None else no_range):
            raise ValueError("give an id, or both from and to")
        return self


@router.post("/events/void")
async def void(key: Finance, session: Session, what: Void) -> dict[str, Any]:
    """Take an event back, or all of a source in a range of time; audited."""
    actor, now = f"key:{key.id}", datetime.now(UTC)
    if what.id is not None:
        voided = await voiding.void_event(
            session,
            source=what.source,
            event_id=what.id,
            reason=what.reason,
            actor=actor,
            now=now,
        )
    else:
        assert what.since is not None
        assert what.until is not None
        voided = await voiding.void_events(
            session,
            source=what.source,
            since=what.since,
            until=what.until,
            reason=what.reason,
            actor=actor,
            now=now,
        )
    return documents.voided_document(voided)


@router.post("/customers/{customer_id}/rerate")
async def rerate(
    key: Finance, session: Session, customer_id: str, period: Annotated[str, Query()]
) -> dict[str, Any]:
    """Rate a customer's month again from its events; nothing is posted when all is well."""
    month = Period.parse(period)
    posted = await rerating.rerate(session, customer_id, month, actor=f"key:{key.id}")
    items = documents.line_item_documents(posted)
    return {"customer": customer_id, "period": str(month), "line_items": items}


@router.get("/customers/{customer_id}/rerate")
async def check(
    _key: Finance, session: Session, customer_id: str, period: Annotated[str | None, Query()] = None
) -> dict[str, Any]:
    """Compare a customer's books with a count of their events; nothing is changed."""
    await session.rollback()
    await rerating.begin_snapshot(session)
    month = None if period is None else Period.parse(period)
    await rerating.count_events(session, customer_id, month)
    checked = await rerating.check_books(session, customer_id, month)
    return documents.checked_document(checked)
