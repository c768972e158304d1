"""The HTTP interface to what happens to an invoice after it was sent."""

from fastapi import APIRouter, Request
from pydantic import Field

from services.invoicer.following import documents
from services.invoicer.following.voiding import Voiding
from services.invoicer.routes import Finance, Reason
from shared.clock import present

router = APIRouter(prefix="/v1", tags=["invoicer"])


class VoidReason(Reason):
    """Why an invoice is voided, and whether the same is issued again."""

    reissue: bool = Field(default=False, description="issue the same under a new billing key")


@router.post("/invoices/{invoice_id}/void")
async def void(
    key: Finance, invoice_id: str, reason: VoidReason, request: Request
) -> documents.VoidedDocument:
    """Void an unpaid invoice, at Stripe and here; safe to repeat."""
    state = request.app.state
    voided = await Voiding(state.engine, state.gateway, present).void(
        invoice_id, why=reason.why, reissue=reason.reissue, actor=f"key:{key.id}"
    )
    return documents.voided_document(voided)
