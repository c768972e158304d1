"""The HTTP interface to what happens to an invoice after it was sent."""

from decimal import Decimal

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.following import documents
from services.invoicer.following.crediting import Crediting, Wanted
from services.invoicer.following.voiding import Voiding
from services.invoicer.routes import Finance, Reason
from services.invoicer.runs import get_invoice
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


class NewCredit(Reason):
    """What is given back of a line; asked for again under its reference it is the same credit."""

    line: int = Field(ge=1, le=1_000_000, description="the line's position")
    amount: Decimal = Field(
        gt=0, max_digits=20, description="in the currency's major unit", examples=["4.20"]
    )
    reference: str = Field(min_length=1, max_length=200, examples=["ticket-4711"])


@router.post("/invoices/{invoice_id}/credits")
async def credit(
    key: Finance, invoice_id: str, new: NewCredit, request: Request
) -> documents.CreditDocument:
    """Issue a credit note for a line, or give the one of this reference; safe to repeat."""
    state = request.app.state
    wanted = Wanted(new.line, new.amount, new.why, new.reference)
    note = await Crediting(state.engine, state.gateway, present).credit(
        invoice_id, wanted, actor=f"key:{key.id}"
    )
    async with AsyncSession(state.engine) as session:
        invoice, _ = await get_invoice(session, invoice_id)
        return documents.credit_document(note, invoice.currency)
