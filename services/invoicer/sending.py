"""Sends a run: its invoices, several customers at once, each under a lock of its own. I/O.

Any number of workers and processes may send the same run at once. A customer's lock is held by
a connection, so that it ends with its holder; whoever gets it next takes up what stands in the
books and at Stripe. What goes wrong with one customer stops no other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from services.invoicer.calls import Calls
from services.invoicer.delivering import Delivery
from services.invoicer.patience import Patience
from services.invoicer.runs import DONE_STATES, count_states, get_run, list_invoices
from services.invoicer.stripe_gateway import StripeGateway
from shared import audit
from shared.clock import Clock, present
from shared.errors import UnavailableError
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
        """Send what of a run is not sent yet; call `begin` first.

        Gives the run: `done` when every invoice is finalized or needs none, else `failed`.
        """
        async with AsyncSession(self.engine) as session:
            invoices = await list_invoices(session, run_id=run_id)
        queue = iter(_by_customer(invoices))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.workers, MOST_WORKERS)):
                group.create_task(self._work(queue, on_progress))
        return await self._finish(run_id)

    async def _work(
        self,
        queue: Iterator[tuple[str, Sequence[str]]],
        on_progress: Callable[[Invoice], None],
    ) -> None:
        for customer_id, invoice_ids in queue:
            try:
                async with self._locked(customer_id) as connection:
                    for invoice_id in invoice_ids:
                        on_progress(await self._send_one(connection, invoice_id))
            except Exception:
                # One customer's fault, of whatever kind, must not stop the others; the invoice
                # stays where the books say, and the run is not done.
                log.exception("an invoice was not sent", customer=customer_id)

    async def _send_one(self, connection: AsyncConnection, invoice_id: str) -> Invoice:
        async with AsyncSession(bind=connection, expire_on_commit=False) as session:
            invoice = await session.get_one(Invoice, invoice_id)
            await session.commit()
            if _is_sendable(invoice):
                calls = Calls(session, self.patience, self.clock)
                await Delivery(
                    calls, self.gateway, invoice, days_until_due=self.days_until_due
                ).make()
            return invoice

    @asynccontextmanager
    async def _locked(self, customer_id: str) -> AsyncIterator[AsyncConnection]:
        """Hold a customer for this worker alone; raise `CustomerBusyError` if that can't be."""
        async with self.engine.connect() as connection:
            try:
                await self._lock(connection, customer_id)
                yield connection
                await connection.execute(_UNLOCK, {"customer": customer_id})
                await connection.commit()
            except BaseException:
                # The lock goes with the connection, which must not come back to the pool.
                await asyncio.shield(connection.invalidate())
                raise

    async def _lock(self, connection: AsyncConnection, customer_id: str) -> None:
        deadline = time.monotonic() + self.lock_seconds
        while not await connection.scalar(_TRY_LOCK, {"customer": customer_id}):
            await connection.commit()
            if time.monotonic() > deadline:
                raise CustomerBusyError(
                    f"another process has been at work on {customer_id} for too long"
                )
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        await connection.commit()

    async def _finish(self, run_id: str) -> InvoiceRun:
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            run = await get_run(session, run_id)
            states = await count_states(session, run_id)
            run.state = "done" if states.keys() <= DONE_STATES else "failed"
            run.finished_at = self.clock()
            await session.commit()
            return run


async def begin(engine: AsyncEngine, run_id: str, *, actor: str) -> InvoiceRun:
    """Note that a run is being sent from now on; a run that is done stays done.

    Raises `NotFoundError` for a run that is not there.
    """
    async with AsyncSession(engine, expire_on_commit=False) as session:
        run = await get_run(session, run_id)
        if run.state != "done":
            run.state = "sending"
            run.finished_at = None
            await audit.record(session, actor=actor, act="run.send", subject=run_id)
            await session.commit()
        return run


def _by_customer(invoices: Sequence[Invoice]) -> list[tuple[str, list[str]]]:
    ordered = sorted(invoices, key=lambda one: (one.customer_id, one.id))
    return [
        (customer, [one.id for one in group])
        for customer, group in groupby(ordered, key=lambda one: one.customer_id)
    ]


def _is_sendable(invoice: Invoice) -> bool:
    """Tell whether there is something to do for an invoice.

    What needed a review on its way is looked at again, as a person may have put it right at
    Stripe; what was never sent for what it is (negative, too long) stays.
    """
    looked_at = invoice.state == "needs_review" and invoice.attempts > 0
    return invoice.state in _SENDABLE or looked_at
