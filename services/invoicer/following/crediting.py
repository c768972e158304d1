"""Gives money back for a line of an invoice, by a credit note. I/O: Postgres and Stripe.

A credit is named by the invoice and a reference of who asks for it: the same reference is the
same credit, however often it is asked for. It is written down, with all that is sent, before
Stripe is asked; one that was cut short is looked for at Stripe before it is made there.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlmodel import col, select

from services.invoicer.calls import Calls
from services.invoicer.following.amounts import credit_minor, to_balance
from services.invoicer.patience import Patience
from services.invoicer.runs import get_invoice
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeFault, StripeInvoice
from shared import audit
from shared.clock import Clock
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.money import from_minor, with_minor_unit
from shared.tables.invoicer import CreditNote, Invoice, InvoiceLine

_LOCK = text("SELECT pg_advisory_lock(hashtextextended(:invoice, 7204))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:invoice, 7204))")
_CREDITABLE = ("finalized", "sent", "overdue", "uncollectible", "paid")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A credit as it is asked for; `amount` is in the currency's major unit."""

    line: int
    amount: Decimal
    why: str
    reference: str


@dataclass(frozen=True, slots=True)
class Crediting:
    """What invoices are credited with."""

    engine: AsyncEngine
    gateway: StripeGateway
    clock: Clock
    patience: Patience = field(default_factory=Patience)

    async def credit(self, invoice_id: str, wanted: Wanted, *, actor: str) -> CreditNote:
        """Issue a credit note for a line, or give the one of this reference.

        All credits of a line together are at most the line. Raises `NotFoundError`,
        `InvalidInputError`, `ConflictingStateError` for an invoice that is not final or a
        reference that is another credit's, and `StripeFault`.
        """
        if not wanted.why.strip() or not wanted.reference.strip():
            raise InvalidInputError(f"say why {invoice_id} is credited, and under which reference")
        async with self._alone(invoice_id) as session:
            invoice, lines = await get_invoice(session, invoice_id)
            note = await self._noted(session, invoice, lines, wanted, actor)
            if note.state != "issued":
                await self._issue(session, invoice, note, actor)
            return note

    @asynccontextmanager
    async def _alone(self, invoice_id: str) -> AsyncIterator[AsyncSession]:
        """Open a session while nobody else credits the invoice."""
        async with self.engine.connect() as connection:
            await connection.execute(_LOCK, {"invoice": invoice_id})
            await connection.commit()
            try:
                async with AsyncSession(bind=connection, expire_on_commit=False) as session:
                    yield session
                await connection.rollback()
                await connection.execute(_UNLOCK, {"invoice": invoice_id})
                await connection.commit()
            except BaseException:
                # The lock goes with the connection, which must not come back to the pool.
                await connection.invalidate()
                raise

    async def _noted(
        self,
        session: AsyncSession,
        invoice: Invoice,
        lines: Sequence[InvoiceLine],
        wanted: Wanted,
        actor: str,
    ) -> CreditNote:
        """Give the credit of this reference, checked and added to the session if it is new."""
        line = next((one for one in lines if one.position == wanted.line), None)
        if line is None:
            raise NotFoundError(f"{invoice.id} has no line {wanted.line}; see: invoices show")
        amount = credit_minor(wanted.amount, invoice.currency)
        query = select(CreditNote).where(CreditNote.invoice_id == invoice.id)
        notes = (await session.execute(query)).scalars().all()
        known = next((one for one in notes if one.reference == wanted.reference), None)
        if known is not None and (known.position, known.amount_minor) != (wanted.line, amount):
            raise ConflictingStateError(
                f"reference {wanted.reference!r} is a credit of another line or amount,"
                f" {known.id}; give a new credit a reference of its own"
            )
        if known is not None and known.state == "issued":
            return known
        if invoice.state not in _CREDITABLE:
            raise ConflictingStateError(
                f"{invoice.id} is {invoice.state}: only a final invoice is credited"
            )
        left = line.amount_minor - sum(
            one.amount_minor
            for one in notes
            if one.position == wanted.line and one.state != "refused" and one is not known
        )
        if amount > left:
            rest = with_minor_unit(from_minor(max(left, 0), invoice.currency), invoice.currency)
            raise InvalidInputError(
                f"of line {wanted.line} of {invoice.id} at most {rest} {invoice.currency} can be"
                " credited yet"
            )
        return known or _new(invoice, wanted, amount, actor, self.clock)

    async def _issue(
        self, session: AsyncSession, invoice: Invoice, note: CreditNote, actor: str
    ) -> None:
        """Find or make the credit note at Stripe, and note it."""
        calls = Calls(session, self.patience, self.clock)
        stripe_invoice = invoice.stripe_invoice_id
        assert stripe_invoice is not None
        found = await calls.ask(lambda: self._find(stripe_invoice, note.id))
        if found is None:
            theirs = await calls.ask(lambda: self.gateway.invoice(stripe_invoice))
            try:
                found = await self._make(calls, theirs, note, actor)
            except StripeFault as fault:
                note.last_error = str(fault)
                if fault.retry == "never":
                    note.state = "refused"
                note.changed_at = self.clock()
                await session.commit()
                raise
        note.state, note.last_error = "issued", None
        note.stripe_credit_note_id, note.changed_at = found, self.clock()
        session.add(note)
        await _audit(session, note, "credit", actor)
        await session.commit()

    async def _find(self, stripe_invoice: str, credit: str) -> str | None:
        """Find what an earlier, unanswered call made."""
        notes = await self.gateway.credit_notes(stripe_invoice=stripe_invoice)
        return next((one.id for one in notes if one.credit == credit), None)

    async def _make(self, calls: Calls, theirs: StripeInvoice, note: CreditNote, actor: str) -> str:
        lines = await calls.ask(lambda: self.gateway.lines(theirs.id))
        line = next((one.id for one in lines if one.position == str(note.position)), None)
        if line is None:
            raise ConflictingStateError(
                f"{theirs.id} at Stripe has no line {note.position}; see: tallybook reconcile"
            )
        balance = to_balance(note.amount_minor, theirs.status, theirs.amount_remaining)
        if note.state != "intended" or note not in calls.session:
            note.state = "intended"
            calls.session.add(note)
            await _audit(calls.session, note, "credit_begun", actor)
        made = await calls.change(
            note.id,
            "credit",
            [line, str(note.amount_minor), str(balance)],
            lambda key: self.gateway.create_credit_note(
                theirs.id,
                line=line,
                amount=note.amount_minor,
                to_balance=balance,
                memo=note.why,
                credit=note.id,
                key=key,
            ),
        )
        return made.id


def _new(invoice: Invoice, wanted: Wanted, amount: int, actor: str, clock: Clock) -> CreditNote:
    digest = hashlib.sha256(f"{invoice.id} {wanted.reference}".encode()).hexdigest()
    now = clock()
    return CreditNote(
        id=f"crd_{digest[:20]}",
        invoice_id=invoice.id,
        reference=wanted.reference,
        position=wanted.line,
        amount_minor=amount,
        why=wanted.why,
        state="intended",
        created_by=actor,
        created_at=now,
        changed_at=now,
    )


async def list_credits(session: AsyncSession, invoice_id: str) -> list[CreditNote]:
    """Give an invoice's credits, the oldest first."""
    query = (
        select(CreditNote)
        .where(CreditNote.invoice_id == invoice_id)
        .order_by(col(CreditNote.created_at), col(CreditNote.id))
    )
    return list((await session.execute(query)).scalars().all())


async def _audit(session: AsyncSession, note: CreditNote, act: str, actor: str) -> None:
    await audit.record(
        session,
        actor=actor,
        act=f"invoice.{act}",
        subject=note.invoice_id,
        after={
            "credit": note.id,
            "reference": note.reference,
            "line": note.position,
            "amount_minor": note.amount_minor,
            "why": note.why,
            "stripe_credit_note": note.stripe_credit_note_id,
        },
    )
