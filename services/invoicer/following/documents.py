"""The JSON of what happens to invoices after they were sent. I/O: reads of Postgres."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from services.invoicer.documents import (
    InvoiceDocument,
    WholeInvoiceDocument,
    invoice_document,
    whole_invoice_document,
)
from services.invoicer.following.crediting import list_credits
from services.invoicer.following.follower import Moved
from services.invoicer.following.voiding import Voided
from services.invoicer.runs import get_invoice
from shared.moments import format_moment
from shared.money import from_minor, with_minor_unit
from shared.tables.invoicer import CreditNote


class VoidedDocument(TypedDict):
    """A void invoice, and the one issued in its place; null: none was asked for."""

    invoice: InvoiceDocument
    reissued: InvoiceDocument | None


class CreditDocument(TypedDict):
    """What was given back of an invoice's line; `intended`: ask for it again to finish it."""

    id: str
    invoice: str
    reference: str
    line: int
    amount: str
    currency: str
    why: str
    state: str
    stripe_credit_note: str | None
    last_error: str | None
    created_by: str
    created_at: str | None


class CreditedInvoiceDocument(WholeInvoiceDocument):
    """An invoice with its lines, and what was given back of them."""

    credits: list[CreditDocument]


def credit_document(note: CreditNote, currency: str) -> CreditDocument:
    """Describe a credit."""
    return {
        "id": note.id,
        "invoice": note.invoice_id,
        "reference": note.reference,
        "line": note.position,
        "amount": with_minor_unit(from_minor(note.amount_minor, currency), currency),
        "currency": currency,
        "why": note.why,
        "state": note.state,
        "stripe_credit_note": note.stripe_credit_note_id,
        "last_error": note.last_error,
        "created_by": note.created_by,
        "created_at": format_moment(note.created_at),
    }


async def read_invoice(session: AsyncSession, invoice_id: str) -> CreditedInvoiceDocument:
    """Describe an invoice with its lines and credits; raises `NotFoundError`."""
    invoice, lines = await get_invoice(session, invoice_id)
    notes = await list_credits(session, invoice_id)
    return {
        **whole_invoice_document(invoice, lines),
        "credits": [credit_document(one, invoice.currency) for one in notes],
    }


class MovedDocument(TypedDict):
    """An invoice whose state has changed, and the state before."""

    before: str
    invoice: InvoiceDocument


class FollowedDocument(TypedDict):
    """The invoices whose state has changed."""

    moved: list[MovedDocument]


def followed_document(moved: Sequence[Moved]) -> FollowedDocument:
    """Describe what came of following invoices."""
    return {
        "moved": [{"before": one.before, "invoice": invoice_document(one.invoice)} for one in moved]
    }


def voided_document(voided: Voided) -> VoidedDocument:
    """Describe what came of voiding an invoice."""
    again = voided.reissued
    return {
        "invoice": invoice_document(voided.invoice),
        "reissued": None if again is None else invoice_document(again),
    }
