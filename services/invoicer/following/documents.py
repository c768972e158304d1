"""The JSON of what happens to invoices after they were sent."""

from typing_extensions import TypedDict

from services.invoicer.documents import InvoiceDocument, invoice_document
from services.invoicer.following.voiding import Voided


class VoidedDocument(TypedDict):
    """A void invoice, and the one issued in its place; null: none was asked for."""

    invoice: InvoiceDocument
    reissued: InvoiceDocument | None


def voided_document(voided: Voided) -> VoidedDocument:
    """Describe what came of voiding an invoice."""
    again = voided.reissued
    return {
        "invoice": invoice_document(voided.invoice),
        "reissued": None if again is None else invoice_document(again),
    }
