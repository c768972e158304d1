"""The HTTP twin of the command: the audit trail, and whether it is whole."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.invoicer.auditing import documents
from services.invoicer.auditing.reading import list_entries, verify
from services.invoicer.routes import Finance, Session
from shared.web import UtcMoment

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get("/audit")
async def show_audit(
    _key: Finance,
    session: Session,
    since: Annotated[UtcMoment | None, Query(description="from this moment on")] = None,
    before: Annotated[
        int | None, Query(ge=0, le=2**63 - 1, description="older than this entry")
    ] = None,
) -> documents.EntriesDocument:
    """Give who did what to money or access, the newest 1,000 first."""
    return documents.entries_document(await list_entries(session, since=since, before=before))


@router.get("/audit/verification")
async def show_verification(
    _key: Finance,
    session: Session,
    noted: Annotated[str | None, Query(description="the hash of a head noted before")] = None,
) -> documents.VerificationDocument:
    """Reckon the audit's chain again: whether any entry was changed, removed or put in."""
    known = documents.read_hash(noted)
    return documents.verification_document(await verify(session, known))
