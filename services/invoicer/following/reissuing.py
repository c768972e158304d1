"""Issues a void invoice again, as the next revision of what it was for. I/O: Postgres.

The new one says what the void one said, so that what was approved is what is sent again. The
line items go over to it: they are on one invoice at most, and that is the live one.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select, update

from services.invoicer.building import InvoiceKey
from services.invoicer.delivering import draft_line, frozen_sha256
from services.invoicer.notifying.outbox.invoices import tell
from services.invoicer.payload import billing_key, invoice_id
from services.invoicer.runs import get_invoice
from shared import audit
from shared.tables.invoicer import Invoice, InvoiceCarry, InvoiceLine, InvoiceLineItem, InvoiceRun


async def reissue_invoice(
    session: AsyncSession, void: Invoice, run: InvoiceRun, *, actor: str, now: datetime
) -> Invoice:
    """Give the live invoice in place of a void one, made unless it is there already.

    The caller holds the run's row, and commits. A run that was done has something to send again.
    """
    last = await _last_revision(session, void)
    if last.state != "void":
        return last
    again = await _copy(session, last, now)
    if run.state == "done":
        run.state = "failed"
    await audit.record(
        session,
        actor=actor,
        act="invoice.reissue",
        subject=again.id,
        before={"invoice": last.id, "billing_key": last.billing_key},
        after={"billing_key": again.billing_key, "total_minor": again.total_minor},
    )
    await tell(session, "invoice.previewed", again, now)
    return again


async def _last_revision(session: AsyncSession, void: Invoice) -> Invoice:
    query = (
        select(Invoice)
        .where(
            Invoice.customer_id == void.customer_id,
            Invoice.period == void.period,
            Invoice.currency == void.currency,
            Invoice.kind == void.kind,
        )
        .order_by(col(Invoice.revision).desc())
        .limit(1)
    )
    return (await session.execute(query)).scalar_one()


async def _copy(session: AsyncSession, void: Invoice, now: datetime) -> Invoice:
    key = InvoiceKey(
        void.customer_id, void.period, void.currency, void.kind, revision=void.revision + 1
    )
    _, lines = await get_invoice(session, void.id)
    again = Invoice(
        **{
            **void.model_dump(),
            "id": invoice_id(key),
            "revision": key.revision,
            "billing_key": billing_key(key),
            "state": "frozen",
            "stripe_invoice_id": None,
            "due_at": None,
            "attempts": 0,
            "last_error": None,
            "created_at": now,
            "changed_at": now,
        }
    )
    again.payload_sha256 = frozen_sha256(again, [draft_line(one) for one in lines])
    session.add(again)
    await session.flush()
    for one in lines:
        session.add(InvoiceLine(**{**one.model_dump(exclude={"id"}), "invoice_id": again.id}))
    await session.flush()
    await session.execute(
        update(InvoiceLineItem)
        .where(col(InvoiceLineItem.invoice_id) == void.id)
        .values(invoice_id=again.id)
    )
    await session.execute(
        update(InvoiceCarry)
        .where(col(InvoiceCarry.invoice_id) == void.id)
        .values(invoice_id=again.id)
    )
    return again
