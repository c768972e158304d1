"""Voids an invoice, at Stripe and here, and issues it again. I/O: Postgres and Stripe.

Stripe comes first, and the call's intent before it; so a void that was cut short is finished by
asking for it again, or by following the invoice. A void invoice stays void: Postgres holds it.
"""

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.calls import Calls
from services.invoicer.following.crediting import list_credits
from services.invoicer.following.reissuing import reissue_invoice
from services.invoicer.notifying.outbox.invoices import tell
from services.invoicer.patience import Patience
from services.invoicer.runs import get_invoice, get_run
from services.invoicer.stripe_gateway import StripeGateway
from shared import audit
from shared.clock import Clock
from shared.errors import ConflictingStateError, InvalidInputError
from shared.tables.invoicer import Invoice

_AT_STRIPE = ("finalized", "sent", "overdue", "uncollectible", "needs_review")
_NEVER_SENT = ("frozen", "needs_review")
_UNTOUCHED = text(
    "SELECT EXISTS (SELECT FROM invoices i WHERE id = :invoice AND attempts = 0"
    " AND stripe_invoice_id IS NULL"
    " AND NOT EXISTS (SELECT FROM stripe_intents s WHERE s.subject = i.id))"
)


class InvoicePaidError(ConflictingStateError):
    """A paid invoice is not voided: money came in for it."""

    code = "invoice_paid"


@dataclass(frozen=True, slots=True)
class Voided:
    """A void invoice, and the one that was issued in its place, if any was."""

    invoice: Invoice
    reissued: Invoice | None


@dataclass(frozen=True, slots=True)
class Voiding:
    """What invoices are voided with."""

    engine: AsyncEngine
    gateway: StripeGateway
    clock: Clock
    patience: Patience = field(default_factory=Patience)

    async def void(self, invoice_id: str, *, why: str, reissue: bool, actor: str) -> Voided:
        """Void an invoice, and issue it again if so asked; doing so twice changes nothing.

        The new invoice says the same under a billing key of its own, and goes to Stripe when
        its run is sent again. Raises `NotFoundError`, `InvalidInputError` without a reason,
        `InvoicePaidError`, `ConflictingStateError` for an invoice on its way, and `StripeFault`.
        """
        if not why.strip():
            raise InvalidInputError(f"say why {invoice_id} is voided")
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            invoice, _ = await get_invoice(session, invoice_id)
            if invoice.state == "paid":
                raise _paid(invoice_id)
            untouched = bool(await session.scalar(_UNTOUCHED, {"invoice": invoice_id}))
            if invoice.state != "void" and not untouched:
                await self._void_at_stripe(session, invoice, why, actor)
            return await self._void_here(session, invoice, why, reissue, actor)

    async def _void_at_stripe(
        self, session: AsyncSession, invoice: Invoice, why: str, actor: str
    ) -> None:
        stripe_invoice = invoice.stripe_invoice_id
        if invoice.state not in _AT_STRIPE or stripe_invoice is None:
            raise ConflictingStateError(
                f"{invoice.id} is {invoice.state}, on its way to Stripe or not for it; take it"
                f" there first: runs resume {invoice.run_id}"
            )
        calls = Calls(session, self.patience, self.clock)
        theirs = await calls.ask(lambda: self.gateway.invoice(stripe_invoice))
        if theirs.status == "paid":
            raise _paid(invoice.id)
        if theirs.status == "draft":
            raise ConflictingStateError(
                f"{stripe_invoice} is a draft at Stripe: delete it there, then put {invoice.id}"
                f" right: runs resume {invoice.run_id}"
            )
        if theirs.status == "void":
            return
        if await list_credits(session, invoice.id):
            raise ConflictingStateError(
                f"{invoice.id} has credits, and a credited invoice is not voided; credit what is"
                f" left of it: invoices credit {invoice.id}"
            )
        await audit.record(
            session,
            actor=actor,
            act="invoice.void_begun",
            subject=invoice.id,
            before={"state": invoice.state, "stripe_invoice": stripe_invoice},
            after={"why": why},
        )
        await calls.change(
            invoice.id,
            "void",
            [stripe_invoice],
            lambda key: self.gateway.void(stripe_invoice, key=key),
        )

    async def _void_here(
        self, session: AsyncSession, invoice: Invoice, why: str, reissue: bool, actor: str
    ) -> Voided:
        """Note in one transaction that it is void, and what was issued in its place."""
        run = await get_run(session, invoice.run_id, for_update=True)
        await session.refresh(invoice, with_for_update=True)
        if invoice.state != "void":
            await self._check_still(session, invoice)
            before = invoice.state
            invoice.state = "void"
            invoice.last_error = None
            invoice.changed_at = self.clock()
            await audit.record(
                session,
                actor=actor,
                act="invoice.void",
                subject=invoice.id,
                before={"state": before, "total_minor": invoice.total_minor},
                after={"why": why},
            )
            await tell(session, "invoice.void", invoice, invoice.changed_at)
            await session.flush()
        again = None
        if reissue:
            again = await reissue_invoice(session, invoice, run, actor=actor, now=self.clock())
        await session.commit()
        return Voided(invoice, again)

    async def _check_still(self, session: AsyncSession, invoice: Invoice) -> None:
        """Raise where a worker has begun to send what was not sent a moment ago."""
        if invoice.state in _AT_STRIPE and invoice.stripe_invoice_id is not None:
            return
        untouched = await session.scalar(_UNTOUCHED, {"invoice": invoice.id})
        if invoice.state not in _NEVER_SENT or not untouched:
            raise ConflictingStateError(
                f"{invoice.id} is {invoice.state}: only what is frozen, in review or at Stripe"
                " is voided"
            )


def _paid(invoice_id: str) -> InvoicePaidError:
    return InvoicePaidError(
        f"{invoice_id} is paid, and a paid invoice is not voided; to give money back:"
        f" invoices credit {invoice_id}"
    )
