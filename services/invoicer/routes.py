"""The invoicer's HTTP interface: periods, runs, invoices, reconciliation.

Every route takes a key with the scope `finance`; who did an act is the key that asked for it.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from typing_extensions import TypedDict

from services.invoicer import documents, runs, steering
from services.invoicer.closing import close_period, list_periods
from services.invoicer.diffing import diff_runs
from services.invoicer.following.documents import CreditedInvoiceDocument, read_invoice
from services.invoicer.planning import preview
from services.invoicer.preview_documents import PreviewDocument, preview_document
from services.invoicer.reconciliation import report
from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.gather import gather
from services.invoicer.reopening import reopen_period
from services.invoicer.run_documents import (
    DiffDocument,
    RunDocument,
    RunsDocument,
    WholeRunDocument,
    diff_document,
    run_document,
    whole_run_document,
)
from services.invoicer.under_way import SendingUnderWay
from shared.api_keys import RequireScope
from shared.clock import present
from shared.keys import FINANCE, Key
from shared.periods import Period
from shared.settings import Settings
from shared.tables.invoicer import InvoiceRun

require_finance = RequireScope(FINANCE)
Finance = Annotated[Key, Depends(require_finance)]
router = APIRouter(prefix="/v1", tags=["invoicer"])


def read_period(period: str) -> Period:
    """Read a month out of the path."""
    return Period.parse(period)


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a session of the invoicer's role for one request."""
    engine: AsyncEngine = request.app.state.engine
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]
Month = Annotated[Period, Depends(read_period)]


class NewRun(BaseModel):
    """A run to start."""

    model_config = ConfigDict(extra="forbid")

    period: str = Field(description="the month to invoice", examples=["2026-10"])


class Approval(BaseModel):
    """An approval of what a run holds."""

    model_config = ConfigDict(extra="forbid")

    payload_sha256: str = Field(description="the run's hash, as it was looked at")


class Reason(BaseModel):
    """Why something is done, for the audit trail."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field(min_length=1, examples=["a price was wrong"])


class ReopenedDocument(TypedDict):
    """A month that is open again, and how many invoices its run had, which is withdrawn."""

    period: str
    withdrawn_invoices: int


def _actor(key: Key) -> str:
    return f"key:{key.id}"


@router.get("/periods")
async def show_periods(_key: Finance, session: Session) -> documents.PeriodsDocument:
    """Give the months that are being closed or are closed, the newest first."""
    return {"periods": [documents.period_document(one) for one in await list_periods(session)]}


@router.post("/periods/{period}/close")
async def close(key: Finance, month: Month, request: Request) -> documents.PeriodDocument:
    """Close a month once the rater has handled all that was on the log; safe to repeat."""
    settings: Settings = request.app.state.settings
    engine: AsyncEngine = request.app.state.engine
    closed = await close_period(settings, engine, month, actor=_actor(key), clock=present)
    return documents.period_document(closed)


@router.post("/periods/{period}/reopen")
async def reopen(key: Finance, month: Month, reason: Reason, request: Request) -> ReopenedDocument:
    """Open a closed month again, as long as nothing of it was sent; its run is withdrawn."""
    withdrawn = await reopen_period(
        request.app.state.engine, month, why=reason.why, actor=_actor(key)
    )
    return {"period": str(month), "withdrawn_invoices": withdrawn}


@router.get("/periods/{period}/preview")
async def show_preview(
    _key: Finance, month: Month, session: Session, request: Request
) -> PreviewDocument:
    """Give every invoice of a month as it would be now, and what to look at before sending."""
    found = await preview(session, month, request.app.state.settings)
    return preview_document(found)


@router.get(
    "/periods/{period}/reconciliation",
    response_model=report.ReconciliationDocument,
    responses={200: {"content": {"text/html": {}}, "headers": report.HEADERS}},
)
async def show_reconciliation(_key: Finance, month: Month, request: Request) -> Response:
    """Compare log, events, line items, invoices and Stripe; a page where HTML is asked for."""
    state = request.app.state
    figures = await gather(state.settings, state.engine, state.gateway, month)
    found = reconcile(figures)
    headers = {report.CLEAN_HEADER: "true" if found.clean else "false"}
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(report.to_html(found, figures), headers=headers)
    return JSONResponse(report.to_json(found), headers=headers)


@router.post("/runs", status_code=201)
async def start_run(key: Finance, new: NewRun, request: Request) -> RunDocument:
    """Close a month and freeze its invoices; for a month that has its run, give that."""
    state = request.app.state
    run = await runs.start_run(
        state.settings,
        state.engine,
        Period.parse(new.period),
        actor=_actor(key),
        clock=present,
    )
    return await _described(state.engine, run)


@router.get("/runs")
async def list_runs(_key: Finance, session: Session) -> RunsDocument:
    """Give all runs, the newest month first."""
    found = [
        run_document(run, await runs.count_states(session, run.id))
        for run in await runs.list_runs(session)
    ]
    return {"runs": found}


@router.get("/runs/{run_id}")
async def show_run(_key: Finance, run_id: str, session: Session) -> WholeRunDocument:
    """Give a run with each invoice's state and last error."""
    run = await runs.get_run(session, run_id)
    states = await runs.count_states(session, run_id)
    invoices = await runs.list_invoices(session, run_id=run_id)
    return whole_run_document(run, states, invoices)


@router.get("/runs/{run_id}/diff")
async def diff_run(
    _key: Finance,
    run_id: str,
    session: Session,
    against: Annotated[str | None, Query(description="another run than last month's")] = None,
) -> DiffDocument:
    """Give who is invoiced otherwise than in another run, by default last month's."""
    run = await runs.get_run(session, run_id)
    other = (
        await runs.run_before(session, run)
        if against is None
        else await runs.get_run(session, against)
    )
    changed = diff_runs(
        await runs.list_invoices(session, run_id=other.id),
        await runs.list_invoices(session, run_id=run_id),
    )
    return diff_document(run_id, other.id, changed)


@router.post("/runs/{run_id}/approve")
async def approve_run(
    key: Finance, run_id: str, approval: Approval, request: Request
) -> RunDocument:
    """Approve a run, as its hash names it: what is sent is what was approved."""
    state = request.app.state
    run = await steering.approve(
        state.engine,
        run_id,
        payload_sha256=approval.payload_sha256,
        approval_by=state.settings.approval_by,
        actor=_actor(key),
        clock=present,
    )
    return await _described(state.engine, run)


@router.post("/runs/{run_id}/send", status_code=202)
async def send_run(key: Finance, run_id: str, request: Request) -> RunDocument:
    """Begin to send a run, or what is left of it; how far it is: `GET /v1/runs/{run_id}`."""
    return await _begin(request, run_id, key, resume=False)


@router.post("/runs/{run_id}/pause")
async def pause_run(key: Finance, run_id: str, reason: Reason, request: Request) -> RunDocument:
    """Stop a run that is being sent, after the invoices that are under way."""
    engine = request.app.state.engine
    run = await steering.pause(engine, run_id, why=reason.why, actor=_actor(key))
    return await _described(engine, run)


@router.post("/runs/{run_id}/resume", status_code=202)
async def resume_run(key: Finance, run_id: str, request: Request) -> RunDocument:
    """Go on with a run, also with a paused one."""
    return await _begin(request, run_id, key, resume=True)


async def _begin(request: Request, run_id: str, key: Key, *, resume: bool) -> RunDocument:
    state = request.app.state
    under_way: SendingUnderWay = state.under_way
    run = await steering.begin(
        state.engine,
        run_id,
        approval_by=state.settings.approval_by,
        actor=_actor(key),
        resume=resume,
    )
    if run.state == "sending":
        under_way.start(run_id)
    return await _described(state.engine, run)


async def _described(engine: AsyncEngine, run: InvoiceRun) -> RunDocument:
    async with AsyncSession(engine) as session:
        return run_document(run, await runs.count_states(session, run.id))


@router.get("/invoices")
async def list_invoices(
    _key: Finance,
    session: Session,
    period: Annotated[str | None, Query(description="only this month's")] = None,
) -> documents.InvoicesDocument:
    """Give invoices without their lines, by month and customer."""
    month = None if period is None else Period.parse(period)
    found = await runs.list_invoices(session, period=month)
    return {"invoices": [documents.invoice_document(one) for one in found]}


@router.get("/invoices/{invoice_id}")
async def show_invoice(_key: Finance, invoice_id: str, session: Session) -> CreditedInvoiceDocument:
    """Give an invoice with its lines, and what was given back of them."""
    return await read_invoice(session, invoice_id)
