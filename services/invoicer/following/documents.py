"""The JSON of what happens to invoices after they were sent."""

from collections.abc import Sequence

from typing_extensions import TypedDict

from services.invoicer.documents import InvoiceDocument, invoice_document
from services.invoicer.following.follower import Moved
from services.invoicer.following.voiding import Voided


class VoidedDocument(TypedDict):
    """A void invoice, and the one issued in its place; null: none was asked for."""

    invoice: InvoiceDocument
    reissued: InvoiceDocument | None


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
