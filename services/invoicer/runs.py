"""Invoice runs: a month's invoices frozen once, and where each of them stands. I/O: Postgres."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlmodel import col, insert, select

from services.invoicer.building import Draft
from services.invoicer.carrying import Minimums
from services.invoicer.closing import Progress, close_period
from services.invoicer.notifying.outbox.invoices import tell_previewed
from services.invoicer.payload import billing_key, invoice_id, payload_sha256, run_sha256
from services.invoicer.planning import read_drafts
from services.invoicer.token_costs import token_cost_document
from services.invoicer.verifying import first_state
from shared import audit
from shared.clock import Clock
from shared.database import asyncpg_connection
from shared.errors import NotFoundError
from shared.periods import Period
from shared.settings import Settings
from shared.tables.invoicer import Invoice, InvoiceLine, InvoiceRun

DONE_STATES = frozenset(
    (
        "finalized",
        "sent",
        "paid",
        "overdue",
        "uncollectible",
        "void",
        "skipped_zero",
        "carried_forward",
    )
)
"""States of an invoice for which its run has nothing left to do."""

FREEZE_LOCK = 7_203_002
"""Held by whoever makes or withdraws a run."""

_FROZEN_AT_ONCE = 500
_LINE_COLUMNS = (
    "invoice_id", "position", "contract_id", "charge", "band", "kind", "usage_period",
    "quantity", "unit_price", "exact_amount", "amount_minor", "description",
)  # fmt: skip


async def start_run(
    settings: Settings,
    engine: AsyncEngine,
    period: Period,
    *,
    actor: str,
    clock: Clock,
    on_progress: Progress = lambda _text: None,
) -> InvoiceRun:
    """Close a month and freeze its invoices; for a month that has its run, give that.

    What is frozen is what is sent. Freezing happens in one transaction: all or nothing.
    Raises what `close_period` raises.
    """
    minimums = Minimums.read(settings.invoice_minimums)
    await close_period(settings, engine, period, actor=actor, clock=clock, on_progress=on_progress)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": FREEZE_LOCK})
        run_id = f"run_{period}"
        known = await session.get(InvoiceRun, run_id)
        if known is not None:
            return known
        now = clock()
        run = InvoiceRun(
            id=run_id,
            period=str(period),
            state="planned",
            payload_sha256="",
            started_by=actor,
            created_at=now,
        )
        session.add(run)
        await session.flush()
        drafts = await read_drafts(session, period, minimums)
        frozen: list[tuple[str, str]] = []
        while some := list(islice(drafts, _FROZEN_AT_ONCE)):
            await _freeze(session, run, some, minimums, now)
            frozen += [(invoice_id(draft.key), payload_sha256(draft)) for draft in some]
        run.payload_sha256 = run_sha256(frozen)
        after = {
            "period": str(period),
            "invoices": len(frozen),
            "payload_sha256": run.payload_sha256,
        }
        await audit.record(session, actor=actor, act="run.start", subject=run.id, after=after)
        await session.commit()
        return run


async def _freeze(
    session: AsyncSession,
    run: InvoiceRun,
    drafts: Sequence[Draft],
    minimums: Minimums,
    now: datetime,
) -> None:
    """Write invoices, their lines, and which line item and carried amount is on which line."""
    rows = [_invoice_row(run, draft, minimums, now) for draft in drafts]
    await session.execute(insert(Invoice), rows)
    connection = await asyncpg_connection(session)
    await connection.copy_records_to_table(
        "invoice_lines", columns=_LINE_COLUMNS, records=_line_rows(drafts)
    )
    await connection.copy_records_to_table(
        "invoice_line_items",
        columns=("line_item_id", "invoice_id", "position"),
        records=(
            (item_id, invoice_id(draft.key), position)
            for draft in drafts
            for item_id, position in draft.placed.items()
        ),
    )
    await connection.copy_records_to_table(
        "invoice_carries",
        columns=("source_id", "invoice_id", "position"),
        records=[
            (source_id, invoice_id(draft.key), position)
            for draft in drafts
            for source_id, position in draft.carried.items()
        ],
    )
    await tell_previewed(session, rows, now)


def _invoice_row(
    run: InvoiceRun, draft: Draft, minimums: Minimums, now: datetime
) -> dict[str, Any]:
    state, note = first_state(draft, minimums)
    return {
        "id": invoice_id(draft.key),
        "run_id": run.id,
        "customer_id": draft.key.customer_id,
        "period": draft.key.period,
        "currency": draft.key.currency,
        "kind": draft.key.kind,
        "revision": draft.key.revision,
        "billing_key": billing_key(draft.key),
        "state": state,
        "total_minor": draft.total_minor,
        "payload_sha256": payload_sha256(draft),
        "custom_fields": [
            {"name": name, "value": value} for name, value in draft.wording.custom_fields
        ],
        "footer": draft.wording.footer,
        "token_costs": [token_cost_document(cost) for cost in draft.about.tokens],
        "detail_sha256": draft.detail_sha256,
        "note": note,
        "attempts": 0,
        "created_at": now,
        "changed_at": now,
    }


def _line_rows(drafts: Iterable[Draft]) -> Iterable[tuple[object, ...]]:
    for draft in drafts:
        for line in draft.lines:
            yield (
                invoice_id(draft.key),
                line.position,
                line.contract_id,
                line.charge,
                line.band,
                line.kind,
                line.usage_period,
                line.quantity,
                line.unit_price,
                line.exact_amount,
                line.amount_minor,
                line.description,
            )


async def get_run(session: AsyncSession, run_id: str, *, for_update: bool = False) -> InvoiceRun:
    """Give a run, locked until the transaction ends if so asked, or raise `NotFoundError`."""
    run = await session.get(InvoiceRun, run_id, with_for_update=for_update or None)
    if run is None:
        raise NotFoundError(f"there is no run {run_id!r}; see: runs list")
    return run


async def list_runs(session: AsyncSession) -> Sequence[InvoiceRun]:
    """Give all runs, the newest month first."""
    query = select(InvoiceRun).order_by(col(InvoiceRun.period).desc())
    return (await session.execute(query)).scalars().all()


async def run_before(session: AsyncSession, run: InvoiceRun) -> InvoiceRun:
    """Give the run of the latest month before a run's own, or raise `NotFoundError`."""
    query = (
        select(InvoiceRun)
        .where(InvoiceRun.period < run.period)
        .order_by(col(InvoiceRun.period).desc())
        .limit(1)
    )
    before = await session.scalar(query)
    if before is None:
        raise NotFoundError(f"there is no run before {run.id}")
    return before


async def count_states(session: AsyncSession, run_id: str) -> dict[str, int]:
    """Count a run's invoices by state."""
    query = (
        select(Invoice.state, func.count())
        .where(Invoice.run_id == run_id)
        .group_by(Invoice.state)
        .order_by(Invoice.state)
    )
    rows = await session.execute(query)
    return {row[0]: row[1] for row in rows}


async def list_invoices(
    session: AsyncSession, *, period: Period | None = None, run_id: str | None = None
) -> Sequence[Invoice]:
    """Give invoices of a month or run, or all, by month and customer."""
    query = select(Invoice).order_by(Invoice.period, Invoice.customer_id, Invoice.currency)
    if period is not None:
        query = query.where(Invoice.period == str(period))
    if run_id is not None:
        query = query.where(Invoice.run_id == run_id)
    return (await session.execute(query)).scalars().all()


async def get_invoice(session: AsyncSession, wanted: str) -> tuple[Invoice, Sequence[InvoiceLine]]:
    """Give an invoice and its lines in their order, or raise `NotFoundError`."""
    invoice = await session.get(Invoice, wanted)
    if invoice is None:
        raise NotFoundError(f"there is no invoice {wanted!r}; see: invoices list")
    query = (
        select(InvoiceLine)
        .where(InvoiceLine.invoice_id == wanted)
        .order_by(col(InvoiceLine.position))
    )
    return invoice, (await session.execute(query)).scalars().all()
