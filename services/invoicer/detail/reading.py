"""Reads an invoice's detail file out of the books. I/O: reads of Postgres."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from services.invoicer.detailing import DetailRow, detail_csv, detail_rows, file_sha256
from services.invoicer.planning import rebuild_draft
from services.invoicer.runs import get_invoice
from shared.errors import ConflictingStateError


class DetailDocument(TypedDict):
    """An invoice's detail file. `sha256` is that of the CSV; a collapsed invoice carries it."""

    invoice: str
    collapsed: bool
    sha256: str
    rows: list[DetailRow]


@dataclass(frozen=True, slots=True)
class DetailFile:
    """The file as CSV, and as rows."""

    text: str
    document: DetailDocument


async def read_detail(session: AsyncSession, invoice_id: str) -> DetailFile:
    """Give an invoice's detail file, the same to the byte as when the invoice was frozen.

    Raises `NotFoundError`, and `ConflictingStateError` where the books no longer give the file
    whose hash is on the invoice.
    """
    invoice, _ = await get_invoice(session, invoice_id)
    draft = await rebuild_draft(session, invoice)
    text = detail_csv(draft.details, invoice.currency)
    sha256 = file_sha256(text)
    if invoice.detail_sha256 not in (None, sha256):
        raise ConflictingStateError(
            f"the details of {invoice_id} hash to {sha256}, but the invoice says"
            f" {invoice.detail_sha256}: its line items are not those that were frozen;"
            f" see: reconcile {invoice.period}"
        )
    return DetailFile(
        text,
        {
            "invoice": invoice.id,
            "collapsed": invoice.detail_sha256 is not None,
            "sha256": sha256,
            "rows": detail_rows(draft.details, invoice.currency),
        },
    )
