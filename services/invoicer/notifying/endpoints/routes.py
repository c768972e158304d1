"""The HTTP interface to endpoints."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from services.invoicer.notifying.endpoints import documents, store
from services.invoicer.notifying.endpoints.trying import try_endpoint
from services.invoicer.notifying.outbox.notices import NoticeType
from services.invoicer.notifying.transport.addresses import MOST_CHARACTERS
from services.invoicer.routes import Finance, Reason, Session
from shared.clock import present

router = APIRouter()


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
    found = await store.list_endpoints(session)
    return {"endpoints": [documents.endpoint_document(one) for one in found]}


@router.post("", status_code=201)
async def add(
    key: Finance, session: Session, new: NewEndpoint, request: Request
) -> documents.NewSecretDocument:
    """Add an endpoint; its secret is in this answer and nowhere else."""
    added = await store.add_endpoint(
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
    removed = await store.remove_endpoint(
        session, endpoint_id, actor=f"key:{key.id}", now=present()
    )
    return documents.endpoint_document(removed)


@router.post("/{endpoint_id}/enable")
async def enable(key: Finance, session: Session, endpoint_id: str) -> documents.EndpointDocument:
    """Tell an endpoint again, also what waited meanwhile; safe to repeat."""
    enabled = await store.enable_endpoint(
        session, endpoint_id, actor=f"key:{key.id}", now=present()
    )
    return documents.endpoint_document(enabled)


@router.post("/{endpoint_id}/disable")
async def disable(
    key: Finance, session: Session, endpoint_id: str, reason: Reason
) -> documents.EndpointDocument:
    """Leave an endpoint alone; what it is to be told waits. Safe to repeat."""
    disabled = await store.disable_endpoint(
        session, endpoint_id, why=reason.why, actor=f"key:{key.id}", now=present()
    )
    return documents.endpoint_document(disabled)


@router.post("/{endpoint_id}/rotate")
async def rotate(key: Finance, session: Session, endpoint_id: str) -> documents.NewSecretDocument:
    """Give an endpoint a new secret; for a day messages are signed by the former one too."""
    rotated = await store.rotate_secret(session, endpoint_id, actor=f"key:{key.id}", now=present())
    return documents.new_secret_document(rotated)


@router.post("/{endpoint_id}/test")
async def try_it(
    _key: Finance, session: Session, endpoint_id: str, request: Request
) -> documents.TestedDocument:
    """Send an example to an endpoint now, and tell what came of it."""
    answer = await try_endpoint(session, request.app.state.courier, endpoint_id, present())
    return documents.tested_document(endpoint_id, answer)
