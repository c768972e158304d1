"""The HTTP interface of alerts: added, listed, removed, and what they were raised for."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from services.invoicer.alerts import book, documents
from services.invoicer.alerts.adding import Wanted
from services.invoicer.routes import Finance, Session
from shared.clock import present
from shared.periods import Period

router = APIRouter(prefix="/v1", tags=["alerts"])

Number = Annotated[Decimal, Field(gt=0, max_digits=40, allow_inf_nan=False)]


class NewAlert(BaseModel):
    """An alert on spend, or on a meter's quantity; without a customer for every one."""

    model_config = ConfigDict(extra="forbid")

    customer: str | None = Field(default=None, description="without: every customer")
    meter: str | None = Field(default=None, description="on its quantity; without: on spend")
    currency: str | None = Field(
        default=None, description="of the spend; without: the customer's own", examples=["USD"]
    )
    thresholds: list[Number] = Field(
        default=[], description="amounts or quantities", examples=[["100", "500"]]
    )
    budget: Number | None = Field(default=None, description="what `percents` are of")
    percents: list[Number] = Field(default=[], description="of the budget")
    since: str | None = Field(
        default=None, description="the first month to look at; without: the present one"
    )


@router.post("/alerts", status_code=201)
async def add_alert(key: Finance, new: NewAlert, session: Session) -> documents.AlertDocument:
    """Add an alert on what a month comes to; what is exceeded already is raised at once."""
    now = present()
    wanted = Wanted(
        Period.of(now) if new.since is None else Period.parse(new.since),
        new.customer,
        new.meter,
        new.currency,
        new.thresholds,
        new.budget,
        new.percents,
    )
    added = await book.add_alert(session, wanted, actor=f"key:{key.id}", now=now)
    return documents.alert_document(added)


@router.get("/alerts")
async def list_alerts(_key: Finance, session: Session) -> documents.AlertsDocument:
    """Give the alerts in force."""
    return documents.alerts_document(await book.list_alerts(session))


@router.get("/alerts/raised")
async def list_raised(
    _key: Finance,
    session: Session,
    customer: Annotated[str | None, Query(description="only this customer's")] = None,
    period: Annotated[str | None, Query(description="only this month's")] = None,
) -> documents.RaisedListDocument:
    """Give what was raised, the newest 1,000 first."""
    month = None if period is None else Period.parse(period)
    found = await book.list_raised(session, customer_id=customer, period=month)
    return documents.raised_document(found)


@router.delete("/alerts/{alert_id}")
async def remove_alert(key: Finance, alert_id: str, session: Session) -> documents.AlertDocument:
    """Remove an alert; what it was raised for stays on record."""
    removed = await book.remove_alert(session, alert_id, actor=f"key:{key.id}", now=present())
    return documents.alert_document(removed)
