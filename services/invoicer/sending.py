"""Sends a run: its invoices, several customers at once, each under a lock of its own. I/O.

Any number of workers and processes may send the same run at once. A customer's lock is held by
a connection, so that it ends with its holder; whoever gets it next takes up what stands in the
books and at Stripe. Whom another holds is passed over, and comes again at the end. What goes
wrong with one customer stops no other; where Stripe itself is at fault, the run is paused.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from services.invoicer.breaker import Breaker
from services.invoicer.calls import Calls
from services.invoicer.delivering import Delivery
from services.invoicer.patience import Patience
from services.invoicer.runs import DONE_STATES, count_states, get_run, list_invoices
from services.invoicer.steering import pause
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeFault
from shared.clock import Clock, present
from shared.errors import ConflictingStateError, UnavailableError
from shared.tables.invoicer import Invoice, InvoiceRun

MOST_WORKERS = 32
"""Each worker holds a connection to Postgres; this leaves the engine some for others."""

_SENDABLE = ("frozen", "creating", "lines_adding", "verified", "failed_retryable")
_LOOK_AGAIN_SECONDS = 0.2
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:customer, 7203))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:customer, 7203))")

log = structlog.get_logger("tallybook.invoicer")


class CustomerBusyError(UnavailableError):
    """Another process holds a customer's lock, and does not let go of it."""

    code = "customer_busy"


class _NotNowError(Exception):
    """Another process holds a customer: it comes again after those who are free."""


@dataclass(frozen=True, slots=True)
class _Customer:
    """A customer whose turn it is; one `waited_for` was held by another process before."""

    id: str
    invoice_ids: tuple[str, ...]
    waited_for: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """What a run is sent with; `lock_seconds` is how long another process is waited for."""

    engine: AsyncEngine
    gateway: StripeGateway
    workers: int = 8
    days_until_due: int = 30
    patience: Patience = field(default_factory=Patience)
    clock: Clock = present
    lock_seconds: float = 180.0

    async def send(
        self, run_id: str, *, on_progress: Callable[[Invoice], None] = lambda _invoice: None
    ) -> InvoiceRun:
        """Send what of a run is not sent yet; call `steering.begin` first.

        Gives the run: `done` when every invoice is finalized or needs none, else `failed`, or
        `paused` where somebody stopped it, here or elsewhere.
        """
        async with AsyncSession(self.engine) as session:
            invoices = await list_invoices(session, run_id=run_id)
        queue = deque(_by_customer([one for one in invoices if is_sendable(one)]))
        if queue and await self._stripe_answers(run_id):
            breaker = Breaker()
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.workers, MOST_WORKERS)):
                    group.create_task(self._work(run_id, queue, breaker, on_progress))
        return await self._finish(run_id)

    async def _stripe_answers(self, run_id: str) -> bool:
        """Tell whether Stripe takes calls from us at all; pause the run if not."""
        try:
            await self.patience.call(self.gateway.probe)
        except StripeFault as fault:
            await self._pause(run_id, str(fault))
            return False
        return True

    async def _work(
        self,
        run_id: str,
        queue: deque[_Customer],
        breaker: Breaker,
        on_progress: Callable[[Invoice], None],
    ) -> None:
        while queue:
            customer = queue.popleft()
            if await self._is_stopped(run_id):
                return
            try:
                async with self._locked(customer) as connection:
                    for invoice_id in customer.invoice_ids:
                        invoice = await self._send_one(connection, invoice_id, run_id, breaker)
                        on_progress(invoice)
            except _NotNowError:
                queue.append(replace(customer, waited_for=True))
            except Exception:
                # One customer's fault, of whatever kind, must not stop the others; the invoice
                # stays where the books say, and the run is not done.
                log.exception("an invoice was not sent", customer=customer.id)

    async def _is_stopped(self, run_id: str) -> bool:
        async with AsyncSession(self.engine) as session:
            return (await get_run(session, run_id)).state != "sending"

    async def _pause(self, run_id: str, why: str) -> None:
        """Stop the run for everybody, as Stripe is at fault; what is done or paused stays so."""
        log.warning("a run is paused", run=run_id, why=why)
        with contextlib.suppress(ConflictingStateError):
            await pause(self.engine, run_id, why=why, actor="invoicer")

    async def _send_one(
        self, connection: AsyncConnection, invoice_id: str, run_id: str, breaker: Breaker
    ) -> Invoice:
        async with AsyncSession(bind=connection, expire_on_commit=False) as session:
            invoice = await session.get_one(Invoice, invoice_id)
            await session.commit()
            if is_sendable(invoice):
                calls = Calls(session, self.patience, self.clock)
                await Delivery(
                    calls, self.gateway, invoice, days_until_due=self.days_until_due
                ).make()
                if why := breaker.note(invoice.state, invoice.last_error):
                    await self._pause(run_id, why)
            return invoice

    @asynccontextmanager
    async def _locked(self, customer: _Customer) -> AsyncIterator[AsyncConnection]:
        """Hold a customer for this worker alone.

        Raises `_NotNowError` where another process holds it, and once it was waited for,
        `CustomerBusyError`.
        """
        named = {"customer": customer.id}
        async with self.engine.connect() as connection:
            try:
                await self._lock(connection, customer)
                yield connection
                await connection.execute(_UNLOCK, named)
                await connection.commit()
            except _NotNowError:
                raise
            except BaseException:
                # The lock goes with the connection, which must not come back to the pool.
                await asyncio.shield(connection.invalidate())
                raise

    async def _lock(self, connection: AsyncConnection, customer: _Customer) -> None:
        deadline = time.monotonic() + self.lock_seconds
        while not await connection.scalar(_TRY_LOCK, {"customer": customer.id}):
            await connection.commit()
            if not customer.waited_for:
                raise _NotNowError
            if time.monotonic() > deadline:
                raise CustomerBusyError(
                    f"another process has been at work on {customer.id} for too long"
                )
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        await connection.commit()

    async def _finish(self, run_id: str) -> InvoiceRun:
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            run = await get_run(session, run_id, for_update=True)
            states = await count_states(session, run_id)
            all_done = states.keys() <= DONE_STATES
            if run.state == "sending" or all_done:
                run.state = "done" if all_done else "failed"
                run.paused_because = None
                run.finished_at = self.clock()
            await session.commit()
            return run


def _by_customer(invoices: Sequence[Invoice]) -> list[_Customer]:
    ordered = sorted(invoices, key=lambda one: (one.customer_id, one.id))
    return [
        _Customer(customer, tuple(one.id for one in group))
        for customer, group in groupby(ordered, key=lambda one: one.customer_id)
    ]


def is_sendable(invoice: Invoice) -> bool:
    """Tell whether there is something to do for an invoice.

    What needed a review on its way is looked at again, as a person may have put it right at
    Stripe; what was never sent for what it is (negative, too long) stays.
    """
    looked_at = invoice.state == "needs_review" and invoice.attempts > 0
    return invoice.state in _SENDABLE or looked_at
