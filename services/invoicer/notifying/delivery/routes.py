"""The HTTP interface to deliveries."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from services.invoicer.notifying.delivery import documents, overview
from services.invoicer.notifying.endpoints.store import get_endpoint
from services.invoicer.routes import Finance, Session
from shared.clock import present

router = APIRouter()


@router.get("/deliveries")
async def show_deliveries(
    _key: Finance,
    session: Session,
    state: Annotated[
        Literal["waiting", "delivered", "dead"] | None, Query(description="only those in it")
    ] = None,
    endpoint: Annotated[str | None, Query(description="only those to it")] = None,
    before: Annotated[
        int | None, Query(ge=0, le=2**63 - 1, description="older than this delivery")
    ] = None,
) -> documents.DeliveriesDocument:
    """Give deliveries, the newest 1,000 first."""
    found = await overview.list_deliveries(session, state=state, endpoint=endpoint, before=before)
    return documents.deliveries_document(found)


@router.post("/deliveries/{delivery_id}/retry")
async def retry(
    _key: Finance, session: Session, delivery_id: Annotated[int, Path(ge=0, le=2**63 - 1)]
) -> documents.RetriedDocument:
    """Let a delivery that is dead or waits be due now, with all its attempts before it."""
    await overview.retry_delivery(session, delivery_id, present())
    return {"retried": 1}


@router.post("/{endpoint_id}/retry")
async def retry_dead(
    _key: Finance, session: Session, endpoint_id: str
) -> documents.RetriedDocument:
    """Let all that was given up for an endpoint be due now."""
    await get_endpoint(session, endpoint_id)
    return {"retried": await overview.retry_dead(session, endpoint_id, present())}
