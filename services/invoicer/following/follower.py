"""Lets invoices follow what happens to them at Stripe. I/O: Postgres and Stripe.

Whatever made it look, an event or none, an invoice is read at Stripe anew, and its state follows
from that alone. So the order and the number of events make no difference, and a lost one none
beyond the time until the next look.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlmodel import col, select

from services.invoicer.following import inbox
from services.invoicer.following.standing import FOLLOWED, OPEN, standing
from services.invoicer.notifying.outbox.invoices import tell
from services.invoicer.patience import Patience
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeFault, StripeInvoice
from shared import audit
from shared.clock import Clock, present
from shared.tables.invoicer import Invoice

log = structlog.get_logger("tallybook.invoicer")

_CLOCK_SKEW = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Moved:
    """An invoice whose state has changed."""

    invoice: Invoice
    before: str


@dataclass(frozen=True, slots=True)
class Follower:
    """What invoices are followed with."""

    engine: AsyncEngine
    gateway: StripeGateway
    clock: Clock = present
    patience: Patience = field(default_factory=Patience)

    async def catch_up(self) -> list[Moved]:
        """List the events that were missed, apply them, and let the clock do its part."""
        now = self.clock()
        since = int((await inbox.list_since(self.engine, now)).timestamp())
        events = await self.patience.call(lambda: self.gateway.events_since(since))
        await inbox.store_events(self.engine, events, now=now, listed=True)
        return [*await self.apply_waiting(), *await self.note_overdue()]

    async def apply_waiting(self) -> list[Moved]:
        """Look again at each invoice that events wait for.

        Raises `StripeFault` where Stripe is away; one invoice's own fault stops no other.
        """
        moved: list[Moved] = []
        for stripe_invoice in await inbox.waiting_invoices(self.engine):
            events = await inbox.waiting_events(self.engine, stripe_invoice)
            try:
                moved += await self.follow(stripe_invoice)
            except StripeFault as fault:
                if fault.reach != "call":
                    raise
                log.warning(
                    "an invoice was not read", stripe_invoice=stripe_invoice, why=str(fault)
                )
            await inbox.mark_applied(self.engine, events, self.clock())
        return moved

    async def follow_all(self) -> list[Moved]:
        """Look again at every invoice that is still to be paid, events or none."""
        moved = await self.catch_up()
        async with AsyncSession(self.engine) as session:
            query = select(Invoice).where(col(Invoice.state).in_(OPEN))
            ours = {one.stripe_invoice_id: one for one in (await session.execute(query)).scalars()}
        if not ours:
            return moved
        since = min(one.created_at for one in ours.values()) - _CLOCK_SKEW
        same = await self.patience.call(lambda: self._unchanged(ours, since))
        for stripe_invoice in ours.keys() - same:
            if stripe_invoice is not None:
                moved += await self.follow(stripe_invoice)
        return moved

    async def _unchanged(self, ours: dict[str | None, Invoice], since: datetime) -> set[str | None]:
        """Name the invoices that stand at Stripe as they do here, by lists of a hundred."""
        now = self.clock()
        return {
            theirs.id
            async for theirs in self.gateway.invoices_since(int(since.timestamp()))
            if (one := ours.get(theirs.id)) is not None
            and (standing(one.state, theirs, now), theirs.due_at) == (one.state, one.due_at)
        }

    async def follow(self, stripe_invoice: str) -> list[Moved]:
        """Look at one invoice at Stripe, while nobody else changes it here.

        Gives the change, if there was one; raises `StripeFault`.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            query = select(Invoice).where(
                Invoice.stripe_invoice_id == stripe_invoice, col(Invoice.state).in_(FOLLOWED)
            )
            ours = (await session.execute(query.with_for_update())).scalar_one_or_none()
            if ours is None:
                return []
            theirs = await self.patience.call(lambda: self.gateway.invoice(stripe_invoice))
            moved = await self._note(session, ours, theirs)
            await session.commit()
            return moved

    async def _note(
        self, session: AsyncSession, ours: Invoice, theirs: StripeInvoice
    ) -> list[Moved]:
        now = self.clock()
        ours.due_at = theirs.due_at
        return await _move(session, ours, standing(ours.state, theirs, now), now, actor="stripe")

    async def note_overdue(self) -> list[Moved]:
        """Let the clock pass due dates, whether or not Stripe was heard of."""
        now = self.clock()
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            query = (
                select(Invoice)
                .where(col(Invoice.state).in_(("finalized", "sent")), col(Invoice.due_at) < now)
                .with_for_update(skip_locked=True)
            )
            late = (await session.execute(query)).scalars().all()
            moved = [
                one
                for ours in late
                for one in await _move(session, ours, "overdue", now, actor="invoicer")
            ]
            await session.commit()
            return moved


async def _move(
    session: AsyncSession, ours: Invoice, state: str, now: datetime, *, actor: str
) -> list[Moved]:
    """Change an invoice's state, audited; the caller commits."""
    before = ours.state
    if state == before:
        return []
    ours.state = state
    ours.changed_at = now
    await audit.record(
        session,
        actor=actor,
        act=f"invoice.{state}",
        subject=ours.id,
        before={"state": before},
        after={"stripe_invoice": ours.stripe_invoice_id, "total_minor": ours.total_minor},
    )
    if state == "paid":
        await tell(session, "invoice.paid", ours, now)
    elif state == "void":
        await tell(session, "invoice.void", ours, now)
    log.info("invoice", id=ours.id, state=state, before=before)
    return [Moved(ours, before)]
