"""The HTTP interface to who is told what: endpoints and deliveries."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.invoicer.notifying import deliveries, documents, endpoints
from services.invoicer.notifying.addresses import MOST_CHARACTERS
from services.invoicer.notifying.notices import NoticeType
from services.invoicer.notifying.trying import try_endpoint
from services.invoicer.routes import Finance, Reason, Session
from shared.clock import present

router = APIRouter(prefix="/v1/webhooks", tags=["notices"])


class NewEndpoint(BaseModel):
    """A receiver of notices to add."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1, max_length=MOST_CHARACTERS, examples=["https://erp.example/tallybook"]
    )
    types: list[NoticeType] = Field(
        default=[], description="what it is told; none: all, a mailbox alerts only"
    )
    description: str = Field(default="", max_length=200)


@router.get("")
async def show_endpoints(_key: Finance, session: Session) -> documents.EndpointsDocument:
    """Give the endpoints, the oldest first; never their secrets."""
    found = await endpoints.list_endpoints(session)
    return {"endpoints": [documents.endpoint_document(one) for one in found]}


@router.post("", status_code=201)
async def add(
    key: Finance, session: Session, new: NewEndpoint, request: Request
) -> documents.NewSecretDocument:
    """Add an endpoint; its secret is in this answer and nowhere else."""
    added = await endpoints.add_endpoint(
        session,
        request.app.state.settings,
        new.url,
        types=new.types,
        description=new.description,
        actor=f"key:{key.id}",
        now=present(),
    )
    return documents.new_secret_document(added)


@router.delete("/{endpoint_id}")
async def remove(key: Finance, session: Session, endpoint_id: str) -> documents.EndpointDocument:
    """Remove an endpoint and forget its secret; what waits for it is given up."""
    removed = await endpoints.remove_endpoint(
        session, endpoint_id, actor=f"key:{key.id}", now=present()
    )
    return documents.endpoint_document(removed)


@router.post("/{endpoint_id}/enable")
async def enable(key: Finance, session: Session, endpoint_id: str) -> documents.EndpointDocument:
    """Tell an endpoint again, also what waited meanwhile; safe to repeat."""
    enabled = await endpoints.enable_endpoint(
        session, endpoint_id, actor=f"key:{key.id}", now=present()
    )
    return documents.endpoint_document(enabled)


@router.post("/{endpoint_id}/disable")
async def disable(
    key: Finance, session: Session, endpoint_id: str, reason: Reason
) -> documents.EndpointDocument:
    """Leave an endpoint alone; what it is to be told waits. Safe to repeat."""
    disabled = await endpoints.disable_endpoint(
        session, endpoint_id, why=reason.why, actor=f"key:{key.id}", now=present()
    )
    return documents.endpoint_document(disabled)


@router.post("/{endpoint_id}/rotate")
async def rotate(key: Finance, session: Session, endpoint_id: str) -> documents.NewSecretDocument:
    """Give an endpoint a new secret; for a day messages are signed by the former one too."""
    rotated = await endpoints.rotate_secret(
        session, endpoint_id, actor=f"key:{key.id}", now=present()
    )
    return documents.new_secret_document(rotated)


@router.post("/{endpoint_id}/test")
async def try_it(
    _key: Finance, session: Session, endpoint_id: str, request: Request
) -> documents.TestedDocument:
    """Send an example to an endpoint now, and tell what came of it."""
    answer = await try_endpoint(session, request.app.state.courier, endpoint_id, present())
    return documents.tested_document(endpoint_id, answer)


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
    found = await deliveries.list_deliveries(session, state=state, endpoint=endpoint, before=before)
    return documents.deliveries_document(found)


@router.post("/deliveries/{delivery_id}/retry")
async def retry(
    _key: Finance, session: Session, delivery_id: Annotated[int, Path(ge=0, le=2**63 - 1)]
) -> documents.RetriedDocument:
    """Let a delivery that is dead or waits be due now, with all its attempts before it."""
    await deliveries.retry_delivery(session, delivery_id, present())
    return {"retried": 1}


@router.post("/{endpoint_id}/retry")
async def retry_dead(
    _key: Finance, session: Session, endpoint_id: str
) -> documents.RetriedDocument:
    """Let all that was given up for an endpoint be due now."""
    await endpoints.get_endpoint(session, endpoint_id)
    return {"retried": await deliveries.retry_dead(session, endpoint_id, present())}
