"""Notices of invoices, put wherever an invoice's state moves. I/O: Postgres.

Several paths lead to each state; their notice has the same key, so that it is put once.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.notifying.outbox.notices import Notice
from services.invoicer.notifying.outbox.putting import put, put_all
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
    await put(session, invoice_notice(what, invoice.model_dump(), at))


async def tell_previewed(
    session: AsyncSession, rows: Iterable[Mapping[str, Any]], at: datetime
) -> None:
    """Put that invoices were frozen, of those that are to be sent; the caller commits.

    They are given as rows of their table, as there may be thousands.
    """
    to_send = [one for one in rows if one["state"] == "frozen"]
    await put_all(session, [invoice_notice("invoice.previewed", one, at) for one in to_send])


def invoice_notice(what: InvoiceNoticeType, row: Mapping[str, Any], at: datetime) -> Notice:
    """Make the notice; a preview is told again where the invoice came to say something else."""
    key = row["id"]
    if what == "invoice.previewed":
        key += f" {row['payload_sha256']}"
    data = {
        "invoice": row["id"],
        "run": row["run_id"],
        "customer": row["customer_id"],
        "period": row["period"],
        "revision": row["revision"],
        "total": str(from_minor(row["total_minor"], row["currency"])),
        "currency": row["currency"],
        "payload_sha256": row["payload_sha256"],
        "stripe_invoice": row.get("stripe_invoice_id"),
        "due_at": format_moment(row.get("due_at")),
    }
    return Notice(what, key, row["id"], at, data)
