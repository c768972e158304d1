"""The invoicer's HTTP interface: periods, runs, invoices, reconciliation.

Every route takes a key with the scope `finance`; who did an act is the key that asked for it.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer import documents, runs, sending
from services.invoicer.closing import close_period, list_periods
from services.invoicer.planning import preview
from services.invoicer.reconciliation import report
from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.gather import gather
from services.invoicer.under_way import SendingUnderWay
from shared.api_keys import RequireScope
from shared.clock import present
from shared.keys import FINANCE, Key
from shared.periods import Period
from shared.settings import Settings

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


@router.get("/periods/{period}/preview")
async def show_preview(_key: Finance, month: Month, session: Session) -> documents.PreviewDocument:
    """Give every invoice of a month as it would be now, and what to look at before sending."""
    return documents.preview_document(await preview(session, month))


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
async def start_run(key: Finance, new: NewRun, request: Request) -> documents.RunDocument:
    """Close a month and freeze its invoices; for a month that has its run, give that."""
    state = request.app.state
    run = await runs.start_run(
        state.settings,
        state.engine,
        Period.parse(new.period),
        actor=_actor(key),
        clock=present,
    )
    async with AsyncSession(state.engine) as session:
        return documents.run_document(run, await runs.count_states(session, run.id))


@router.get("/runs")
async def list_runs(_key: Finance, session: Session) -> documents.RunsDocument:
    """Give all runs, the newest month first."""
    found = [
        documents.run_document(run, await runs.count_states(session, run.id))
        for run in await runs.list_runs(session)
    ]
    return {"runs": found}


@router.get("/runs/{run_id}")
async def show_run(_key: Finance, run_id: str, session: Session) -> documents.WholeRunDocument:
    """Give a run with each invoice's state and last error."""
    run = await runs.get_run(session, run_id)
    states = await runs.count_states(session, run_id)
    invoices = await runs.list_invoices(session, run_id=run_id)
    return documents.whole_run_document(run, states, invoices)


@router.post("/runs/{run_id}/send", status_code=202)
async def send_run(key: Finance, run_id: str, request: Request) -> documents.RunDocument:
    """Begin to send a run, or what is left of it; how far it is: `GET /v1/runs/{run_id}`."""
    under_way: SendingUnderWay = request.app.state.under_way
    run = await sending.begin(request.app.state.engine, run_id, actor=_actor(key))
    if run.state == "sending":
        under_way.start(run_id)
    async with AsyncSession(request.app.state.engine) as session:
        return documents.run_document(run, await runs.count_states(session, run_id))


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
async def show_invoice(
    _key: Finance, invoice_id: str, session: Session
) -> documents.WholeInvoiceDocument:
    """Give an invoice with its lines."""
    return documents.whole_invoice_document(*await runs.get_invoice(session, invoice_id))
