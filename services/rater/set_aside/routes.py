"""The HTTP interface of what was set aside; it takes keys with the scope `finance`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.rater.routes import Finance, Session
from services.rater.set_aside import conflicts, dead_letters, documents
from services.rater.set_aside.waiting import waiting_events
from shared.periods import Period

router = APIRouter(prefix="/v1", tags=["set aside"])

LetterId = Annotated[int, Path(ge=0, le=2**63 - 1)]
ConflictId = Annotated[int, Path(ge=0, le=2**63 - 1)]
State = Literal["open", "replayed", "discarded"]


class Discard(BaseModel):
    """Why a dead letter is not to be billed."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(description="kept with the dead letter")


class Resolve(BaseModel):
    """Which version of an event counts, and why."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["keep", "take"] = Field(
        description="`keep`: the stored version stands; `take`: the other one takes its place"
    )
    reason: str = Field(description="kept with the conflict")


@router.get("/events/waiting")
async def list_waiting_events(_key: Finance, session: Session) -> dict[str, Any]:
    """Give, by customer, the events that no contract covers yet."""
    return {"waiting": await waiting_events(session)}


@router.get("/dead-letters")
async def list_dead_letters(
    _key: Finance,
    session: Session,
    period: Annotated[str | None, Query(description="received in this month")] = None,
    state: Annotated[State | None, Query(description="in this state only")] = None,
) -> dict[str, Any]:
    """Give the newest dead letters, at most 1,000."""
    month = None if period is None else Period.parse(period)
    found = await dead_letters.list_dead_letters(session, period=month, state=state)
    return {"dead_letters": [documents.dead_letter_document(one) for one in found]}


@router.get("/dead-letters/{letter_id}")
async def show_dead_letter(_key: Finance, session: Session, letter_id: LetterId) -> dict[str, Any]:
    """Give a dead letter with the record as it was, where that holds no secret."""
    letter = await dead_letters.get_dead_letter(session, letter_id)
    return documents.dead_letter_document(letter, whole=True)


@router.post("/dead-letters/{letter_id}/replay")
async def replay(
    key: Finance, session: Session, request: Request, letter_id: LetterId
) -> dict[str, Any]:
    """Write the record to the log again; audited. An event that it names is billed once."""
    letter = await dead_letters.replay(
        session,
        request.app.state.settings,
        letter_id,
        actor=f"key:{key.id}",
        now=datetime.now(UTC),
    )
    return documents.dead_letter_document(letter)


@router.post("/dead-letters/{letter_id}/discard")
async def discard(
    key: Finance, session: Session, letter_id: LetterId, what: Discard
) -> dict[str, Any]:
    """Close a dead letter that is not to be billed; audited. The record stays."""
    letter = await dead_letters.discard(
        session, letter_id, reason=what.reason, actor=f"key:{key.id}", now=datetime.now(UTC)
    )
    return documents.dead_letter_document(letter)


@router.get("/conflicts")
async def list_conflicts(
    _key: Finance,
    session: Session,
    only_open: Annotated[bool, Query(alias="open", description="unresolved ones only")] = False,
) -> dict[str, Any]:
    """Give the newest conflicts, at most 1,000."""
    found = await conflicts.list_conflicts(session, only_open=only_open)
    return {"conflicts": [documents.conflict_document(one) for one in found]}


@router.get("/conflicts/{conflict_id}")
async def show_conflict(_key: Finance, session: Session, conflict_id: ConflictId) -> dict[str, Any]:
    """Give a conflict with both versions, and what they differ in."""
    return documents.whole_conflict_document(await conflicts.get_conflict(session, conflict_id))


@router.post("/conflicts/{conflict_id}/resolve")
async def resolve(
    key: Finance, session: Session, conflict_id: ConflictId, what: Resolve
) -> dict[str, Any]:
    """Decide which version counts; audited. What that changes is posted by new line items."""
    resolved = await conflicts.resolve(
        session,
        conflict_id,
        what.decision,
        reason=what.reason,
        actor=f"key:{key.id}",
        now=datetime.now(UTC),
    )
    return documents.resolved_document(resolved)
