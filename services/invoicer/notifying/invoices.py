"""Notices of invoices, put wherever an invoice's state moves. I/O: Postgres.

Several paths lead to each state; their notice has the same key, so that it is put once.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.notifying.notices import Notice
from services.invoicer.notifying.outbox import put, put_all
from shared.moments import format_moment
from shared.money import from_minor
from shared.tables.invoicer import Invoice

InvoiceNoticeType = Literal[
    "invoice.previewed", "invoice.finalized", "invoice.paid", "invoice.void"
]


async def tell(
    session: AsyncSession, what: InvoiceNoticeType, invoice: Invoice, at: datetime
) -> None:
    """Put what happened to an invoice into the outbox, unless it is there; the caller commits."""
    await put(session, invoice_notice(what, invoice, at))


async def tell_previewed(session: AsyncSession, invoices: Iterable[Invoice], at: datetime) -> None:
    """Put that invoices were frozen, of those that are to be sent; the caller commits."""
    to_send = [one for one in invoices if one.state == "frozen"]
    await put_all(session, [invoice_notice("invoice.previewed", one, at) for one in to_send])


def invoice_notice(what: InvoiceNoticeType, invoice: Invoice, at: datetime) -> Notice:
    """Make the notice; a preview is told again where the invoice came to say something else."""
    key = invoice.id
    if what == "invoice.previewed":
        key += f" {invoice.payload_sha256}"
    data = {
        "invoice": invoice.id,
        "run": invoice.run_id,
        "customer": invoice.customer_id,
        "period": invoice.period,
        "revision": invoice.revision,
        "total": str(from_minor(invoice.total_minor, invoice.currency)),
        "currency": invoice.currency,
        "payload_sha256": invoice.payload_sha256,
        "stripe_invoice": invoice.stripe_invoice_id,
        "due_at": format_moment(invoice.due_at),
    }
    return Notice(what, key, invoice.id, at, data)
