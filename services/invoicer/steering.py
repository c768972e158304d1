"""Sets a run in motion and stops it: approval, sending, pause, and going on. I/O: Postgres.

Each act locks the run's row, so that two of them never meet, and is audited.
"""

from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.payload import run_sha256
from services.invoicer.runs import get_run, list_invoices
from shared import audit
from shared.clock import Clock
from shared.errors import ConflictingStateError
from shared.tables.invoicer import InvoiceRun

ApprovalBy = Literal["nobody", "anyone", "another"]
"""Who must approve a run before it is sent; another: than who started it."""


class NotApprovedError(ConflictingStateError):
    """A run must be approved before it is sent, or may not be approved by who asks."""

    code = "not_approved"


async def approve(
    engine: AsyncEngine,
    run_id: str,
    *,
    payload_sha256: str | None,
    approval_by: ApprovalBy,
    actor: str,
    clock: Clock,
) -> InvoiceRun:
    """Approve what a run holds, named by its hash, which is that of the run if it is left out.

    Raises `NotFoundError`, `NotApprovedError` where another person has to do it or the hash is
    not the run's, and `ConflictingStateError` for a run that is past its approval.
    """
    async with AsyncSession(engine, expire_on_commit=False) as session:
        run = await get_run(session, run_id, for_update=True)
        if run.approved_by is not None:
            raise ConflictingStateError(f"{run_id} was approved by {run.approved_by} already")
        if run.state != "planned":
            raise ConflictingStateError(f"{run_id} is {run.state}: it is too late to approve it")
        if approval_by == "another" and actor == run.started_by:
            raise NotApprovedError(
                f"{run_id} was started by {actor}: another person must approve it"
            )
        if payload_sha256 not in (None, run.payload_sha256):
            raise NotApprovedError(
                f"{run_id} holds {run.payload_sha256}, not {payload_sha256}; look at it again:"
                f" runs show {run_id}"
            )
        await _check_payloads(session, run)
        run.state = "approved"
        run.approved_by = actor
        run.approved_at = clock()
        after = {"payload_sha256": run.payload_sha256, "started_by": run.started_by}
        await audit.record(session, actor=actor, act="run.approve", subject=run_id, after=after)
        await session.commit()
        return run


async def begin(
    engine: AsyncEngine,
    run_id: str,
    *,
    approval_by: ApprovalBy,
    actor: str,
    resume: bool = False,
) -> InvoiceRun:
    """Note that a run is being sent from now on; a run that is done stays done.

    A paused one goes on only if asked to `resume`. Raises `NotFoundError`, `NotApprovedError`
    where an approval is missing, and `ConflictingStateError`.
    """
    async with AsyncSession(engine, expire_on_commit=False) as session:
        run = await get_run(session, run_id, for_update=True)
        if run.state == "done":
            return run
        if run.state == "paused" and not resume:
            raise ConflictingStateError(
                f"{run_id} is paused: {run.paused_because}; to go on: runs resume {run_id}"
            )
        if approval_by != "nobody" and run.approved_by is None:
            who = f" by another person than {run.started_by}" if approval_by == "another" else ""
            raise NotApprovedError(
                f"{run_id} must be approved{who} before it is sent: runs approve {run_id}"
            )
        await _check_payloads(session, run)
        act = "run.resume" if run.state == "paused" else "run.send"
        run.state = "sending"
        run.paused_because = None
        run.finished_at = None
        await audit.record(session, actor=actor, act=act, subject=run_id)
        await session.commit()
        return run


async def pause(engine: AsyncEngine, run_id: str, *, why: str, actor: str) -> InvoiceRun:
    """Stop a run that is being sent: no process begins another customer; pausing twice is fine.

    Raises `NotFoundError`, and `ConflictingStateError` for a run that is not being sent.
    """
    async with AsyncSession(engine, expire_on_commit=False) as session:
        run = await get_run(session, run_id, for_update=True)
        if run.state == "paused":
            return run
        if run.state != "sending":
            raise ConflictingStateError(f"{run_id} is {run.state}: only one being sent is paused")
        run.state = "paused"
        run.paused_because = why
        await audit.record(
            session, actor=actor, act="run.pause", subject=run_id, after={"because": why}
        )
        await session.commit()
        return run


async def _check_payloads(session: AsyncSession, run: InvoiceRun) -> None:
    """Raise where the invoices are not those that the run was made of."""
    invoices = await list_invoices(session, run_id=run.id)
    # A later revision of an invoice belongs to its run too, and was not there at its start.
    frozen = [(one.id, one.payload_sha256) for one in invoices if one.revision == 1]
    if run_sha256(frozen) != run.payload_sha256:
        raise ConflictingStateError(
            f"the invoices of {run.id} are not those that it was made of: their hash is"
            f" {run_sha256(frozen)}, not {run.payload_sha256}; nothing is sent"
        )
