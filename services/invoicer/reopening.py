"""Opens a closed month again, as long as nothing of it was sent. I/O: Postgres."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.runs import FREEZE_LOCK
from shared import audit
from shared.database import POSTING_LOCK
from shared.errors import ConflictingStateError, InvalidInputError
from shared.periods import Period
from shared.tables.invoicer import InvoiceRun, PeriodState

_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
_LATER = text("SELECT min(period) FROM periods WHERE period > :period AND state = 'closed'")
_WITHDRAW = text("SELECT withdraw_run(:run)")


async def reopen_period(engine: AsyncEngine, period: Period, *, why: str, actor: str) -> int:
    """Open a closed month again, and withdraw its run; tell how many invoices it had.

    What was used in the month, but came after its close, stays posted to the month after.
    Raises `InvalidInputError` without a reason, and `ConflictingStateError` where the month is
    not closed, a later one is, or its run is being sent or was.
    """
    if not why.strip():
        raise InvalidInputError(f"say why {period} is opened again")
    async with AsyncSession(engine) as session:
        for lock in (FREEZE_LOCK, POSTING_LOCK):
            await session.execute(_LOCK, {"lock": lock})
        state = await session.get(PeriodState, str(period), with_for_update=True)
        if state is None or state.state != "closed":
            raise ConflictingStateError(f"{period} is not closed")
        if later := await session.scalar(_LATER, {"period": str(period)}):
            raise ConflictingStateError(
                f"{later} is closed too; months are opened again in the opposite order"
            )
        run = await session.get(InvoiceRun, f"run_{period}", with_for_update=True)
        withdrawn = 0 if run is None else await _withdraw(session, run)
        await session.delete(state)
        await audit.record(
            session,
            actor=actor,
            act="period.reopen",
            subject=str(period),
            before={
                "end_offsets": state.end_offsets,
                "invoices": withdrawn,
                "payload_sha256": None if run is None else run.payload_sha256,
                "approved_by": None if run is None else run.approved_by,
            },
            after={"why": why},
        )
        await session.commit()
        return withdrawn


async def _withdraw(session: AsyncSession, run: InvoiceRun) -> int:
    withdrawn = await session.scalar(_WITHDRAW, {"run": run.id})
    if withdrawn is None:
        raise ConflictingStateError(
            f"{run.id} is {run.state}: a month of which anything may have been sent stays closed;"
            " correct it by voids and amendments, which go onto the next invoices"
        )
    session.expunge(run)
    return int(withdrawn)
