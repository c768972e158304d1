"""Sends a run: its invoices, several customers at once, each under a lease of its own. I/O.

Any number of workers and processes may send the same run at once: each worker takes the next
customer whom nobody works on, and takes up what stands in the books and at Stripe. What goes
wrong with one customer stops no other; what would go wrong with all stops the run.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from services.invoicer.breaker import Breaker, RunStoppedError
from services.invoicer.calls import Calls
from services.invoicer.delivering import Delivery
from services.invoicer.leases import SENDABLE, Lease, LeaseLostError, Leases
from services.invoicer.patience import Patience
from services.invoicer.runs import DONE_STATES, count_states, get_run
from services.invoicer.steering import pause
from services.invoicer.stripe_gateway import StripeGateway
from shared.clock import Clock, present
from shared.database import TRANSIENT
from shared.errors import ConflictingStateError
from shared.logs import name_error
from shared.tables.invoicer import Invoice, InvoiceRun
from shared.tracing import OFF, Tracing

MOST_WORKERS = 32
"""Each worker holds a connection to Postgres; this leaves the engine some for others."""

_LOOK_AGAIN_SECONDS = 0.2
_AFTER_FAULT_SECONDS = 1.0
_MOST_FAULTS = 30
"""So many times in a row Postgres may fail a worker before sending ends; it may be restarting."""

_I = aliased(Invoice, name="i")
_TO_SEND = (
    select(_I)
    .where(col(_I.run_id) == bindparam("run"), col(_I.customer_id) == bindparam("customer"))
    .where(text(SENDABLE))
    .order_by(col(_I.id))
)

log = structlog.get_logger("tallybook.invoicer")


@dataclass(frozen=True, slots=True)
class Sender:
    """What a run is sent with; `lease_seconds` is how long others wait for a worker that is
    not heard of, though its connection stands.
    """

    engine: AsyncEngine
    gateway: StripeGateway
    workers: int = 8
    days_until_due: int = 30
    patience: Patience = field(default_factory=Patience)
    clock: Clock = present
    lease_seconds: float = 60.0
    tracing: Tracing = OFF

    async def send(
        self, run_id: str, *, on_progress: Callable[[Invoice], None] = lambda _invoice: None
    ) -> InvoiceRun:
        """Send what of a run is not sent yet; call `steering.begin` first.

        Gives the run: `done` when every invoice is finalized or needs none, else `failed`, or
        `paused` where somebody stopped it, here or elsewhere, or Stripe is down or refuses all
        that we send.
        """
        leases = Leases(self.engine, run_id, seconds=self.lease_seconds)
        sending = _Sending(self, run_id, leases, Breaker(), on_progress)
        async with leases.held(), asyncio.TaskGroup() as group:
            for _ in range(min(self.workers, MOST_WORKERS)):
                group.create_task(sending.work())
        if sending.breaker.reason is not None:
            await self._pause(run_id, sending.breaker.reason)
        return await self._finish(run_id)

    async def _pause(self, run_id: str, why: str) -> None:
        """Stop the run for everybody; what is done or paused already stays so."""
        log.warning("a run is paused", run=run_id, why=why)
        with contextlib.suppress(ConflictingStateError):
            await pause(self.engine, run_id, why=why, actor="invoicer")

    async def _finish(self, run_id: str) -> InvoiceRun:
        """Note how the run ended, unless somebody else has already."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            run = await get_run(session, run_id, for_update=True)
            all_done = (await count_states(session, run_id)).keys() <= DONE_STATES
            if run.state == "sending" or (run.state == "paused" and all_done):
                run.state = "done" if all_done else "failed"
                run.paused_because = None
                run.finished_at = self.clock()
            await session.commit()
            return run


@dataclass(frozen=True, slots=True)
class _Sending:
    """One sending of a run, shared by its workers."""

    sender: Sender
    run_id: str
    leases: Leases
    breaker: Breaker
    on_progress: Callable[[Invoice], None]

    async def work(self) -> None:
        """Take one customer after the other until there is nothing left to wait for."""
        faults = 0
        is_left = True
        while is_left and self.breaker.reason is None:
            try:
                is_left = await self._take_and_serve()
                faults = 0
            except (SQLAlchemyError, *TRANSIENT) as error:
                log.warning("Postgres did not answer", run=self.run_id, why=name_error(error))
                faults += 1
                if faults >= _MOST_FAULTS:
                    raise
                await asyncio.sleep(_AFTER_FAULT_SECONDS)

    async def _take_and_serve(self) -> bool:
        """Serve customers while there are free ones; tell whether there may be more later."""
        async with self.leases.connected() as connection:
            lease = await self.leases.take(connection)
            while lease is not None:
                await self._serve(connection, lease)
                if self.breaker.reason is not None:
                    return False
                lease = await self.leases.take(connection, done=lease)
            if not await self.leases.may_come_free(connection):
                return False
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return True

    async def _serve(self, connection: AsyncConnection, lease: Lease) -> None:
        try:
            await self._send_all(connection, lease)
        except RunStoppedError as error:
            log.warning("the run is being stopped", run=self.run_id, why=str(error))
        except LeaseLostError as error:
            log.warning("a customer was given up", customer=lease.customer_id, why=str(error))
        except Exception:
            # One customer's fault, of whatever kind, must not stop the others; the invoice
            # stays where the books say, and the run is not done.
            log.exception("an invoice was not sent", customer=lease.customer_id)
            await self.leases.reconnect(connection)

    async def _send_all(self, connection: AsyncConnection, lease: Lease) -> None:
        async with AsyncSession(bind=connection, expire_on_commit=False) as session:
            terms = {"run": self.run_id, "customer": lease.customer_id}
            invoices = (await session.execute(_TO_SEND, terms)).scalars().all()
            sender = self.sender
            calls = Calls(
                session, sender.patience, sender.clock, lease.guard, self.breaker, sender.tracing
            )
            for invoice in invoices:
                await self._deliver(calls, invoice)
                self.on_progress(invoice)

    async def _deliver(self, calls: Calls, invoice: Invoice) -> None:
        sender = self.sender
        named = {"tallybook.run.id": self.run_id, "tallybook.invoice.id": invoice.id}
        # A trace for each: under the request that began it, a run's would have no end.
        with sender.tracing.span("send invoice", named, alone=True) as span:
            await Delivery(
                calls, sender.gateway, invoice, days_until_due=sender.days_until_due
            ).make()
            span.set_attribute("tallybook.invoice.state", invoice.state)


async def count_to_send(session: AsyncSession, run_id: str) -> int:
    """Count the invoices of a run for which there is something to do."""
    query = text(f"SELECT count(*) FROM invoices i WHERE i.run_id = :run AND {SENDABLE}")
    return int(await session.scalar(query, {"run": run_id}) or 0)
