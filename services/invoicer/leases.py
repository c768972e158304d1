"""Who is at work on which customer: leases in Postgres, taken by whoever is free. I/O: Postgres.

A lease is for one customer and one holder, a sending of a run in some process. It ends when the
holder gives it back, when the holder's connection is gone (then at once), or when its time is
over because the holder no longer renews it: a process that was stopped, or is cut off. What such
a one has locked in the middle of a transaction, Postgres lets go of after the same time. Each
lease has a higher number than the customer's last one. A transaction that changes anything
looks whether its own is still the one that counts, so that a holder who comes back late can
commit nothing, and therefore make no call that was not written down before.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from shared.database import TRANSIENT
from shared.errors import ConflictingStateError

log = structlog.get_logger("tallybook.invoicer")

SENDABLE = (
    "(i.state IN ('frozen', 'creating', 'lines_adding', 'verified', 'failed_retryable')"
    " OR (i.state = 'needs_review' AND i.attempts > 0))"
)
"""There is something to do for invoice `i`. What needed a review on its way is looked at again,
as a person may have put it right at Stripe; what was never sent for what it is (negative, too
long) stays."""

_OF_RUN = (
    "EXISTS (SELECT FROM invoices i WHERE i.run_id = :run AND i.customer_id = l.customer_id"
    f" AND {SENDABLE})"
)
_ADD = text(
    "INSERT INTO sending_leases (customer_id)"
    " SELECT DISTINCT customer_id FROM invoices i"
    f" WHERE run_id = :run AND {SENDABLE} ORDER BY customer_id"
    " ON CONFLICT DO NOTHING"
)


_BEING_SENT = "EXISTS (SELECT FROM invoice_runs WHERE id = :run AND state = 'sending')"


def _take(which: str) -> TextClause:
    return text(
        "WITH next AS (SELECT l.customer_id FROM sending_leases l"
        f" WHERE {which} AND (l.leased_until IS NULL OR l.leased_until < now())"
        f" AND {_OF_RUN} AND {_BEING_SENT}"
        " ORDER BY l.customer_id LIMIT 1 FOR UPDATE OF l SKIP LOCKED)"
        " UPDATE sending_leases l SET holder = :holder, number = l.number + 1,"
        " leased_until = now() + make_interval(secs => :seconds)"
        " FROM next WHERE l.customer_id = next.customer_id"
        " RETURNING l.customer_id, l.number"
    )


_TAKE_NEXT = _take("l.customer_id > :after")
_TAKE_LEFT = _take("l.customer_id <> ALL(CAST(:tried AS text[]))")
_IS_ANY_HELD = text(  # or was passed over, as somebody has its row locked
    "SELECT EXISTS (SELECT FROM sending_leases l"
    " WHERE (l.leased_until >= now() OR l.customer_id <> ALL(CAST(:tried AS text[])))"
    f" AND {_OF_RUN} AND {_BEING_SENT})"
)
_STILL_OURS = text(
    "SELECT 1 FROM sending_leases WHERE customer_id = :customer AND number = :number FOR SHARE"
)
_RENEW = text(
    "UPDATE sending_leases SET leased_until = now() + make_interval(secs => :seconds)"
    " WHERE holder = :holder"
)
_GIVE_BACK = text(
    "UPDATE sending_leases SET leased_until = NULL, holder = NULL"
    " WHERE customer_id = :customer AND number = :number"
)
_OTHER_HOLDERS = text(
    "SELECT DISTINCT holder FROM sending_leases"
    " WHERE leased_until >= now() AND holder <> :holder ORDER BY holder"
)
_LIVE = text("SELECT pg_advisory_lock(:holder)")
_LET_GO_IF_FROZEN = text(
    "SELECT set_config('idle_in_transaction_session_timeout', :milliseconds, false)"
)
_AS_BEFORE = text("RESET idle_in_transaction_session_timeout")
_IS_GONE = text("SELECT pg_try_advisory_xact_lock(:holder)")
_ABANDON = text(
    "UPDATE sending_leases SET leased_until = now() - interval '1 second'"
    " WHERE holder = :holder AND leased_until >= now()"
)


class LeaseLostError(ConflictingStateError):
    """Another worker has taken the customer over, as this one was not heard of for too long."""

    code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a customer; a later lease of the same customer has a higher number."""

    customer_id: str
    number: int

    async def guard(self, session: AsyncSession) -> None:
        """Hold the lease until the session's transaction ends, or raise `LeaseLostError`."""
        terms = {"customer": self.customer_id, "number": self.number}
        if await session.scalar(_STILL_OURS, terms) is None:
            await session.rollback()
            raise LeaseLostError(f"another worker has taken over {self.customer_id}")


class Leases:
    """The leases of one sending of a run; its workers share it."""

    def __init__(self, engine: AsyncEngine, run_id: str, *, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._holder = random.getrandbits(62)
        self._terms = {"run": run_id, "holder": self._holder, "seconds": seconds}
        self._after: str | None = ""
        self._tried: set[str] = set()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Be there as a holder, and renew what is held, for as long as the context is open."""
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(_ADD, {"run": self._terms["run"]})
        present = asyncio.Event()
        renewing = asyncio.create_task(self._renew(present))
        try:
            await present.wait()
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        """Open a worker's connection; it is cut if no more comes within a transaction.

        No call to Stripe may be made within one: it can take longer than a lease lasts.
        """
        async with self._engine.connect() as connection:
            await self._let_go_if_frozen(connection)
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    await connection.execute(_AS_BEFORE)
                    await connection.commit()

    async def reconnect(self, connection: AsyncConnection) -> None:
        """Go on with a new connection to Postgres: nobody knows what the old one is in."""
        await connection.invalidate()
        await self._let_go_if_frozen(connection)

    async def _let_go_if_frozen(self, connection: AsyncConnection) -> None:
        terms = {"milliseconds": str(round(self._seconds * 1000))}
        await connection.execute(_LET_GO_IF_FROZEN, terms)
        await connection.commit()

    async def take(self, connection: AsyncConnection, done: Lease | None = None) -> Lease | None:
        """Take the next customer of the run whom nobody works on; None if there is none now.

        The one who is `done` is given back with it, and is not taken again.

        All are gone through once in their order, and then those who were somebody else's at
        that time and are not now. There is none while the run is not being sent.
        """
        if done is not None:
            self._tried.add(done.customer_id)
            terms = {"customer": done.customer_id, "number": done.number}
            await connection.execute(_GIVE_BACK, terms)
        row = None
        if self._after is not None:
            row = (
                await connection.execute(_TAKE_NEXT, {**self._terms, "after": self._after})
            ).one_or_none()
            self._after = None if row is None else max(self._after or "", row[0])
        if row is None:
            row = (await connection.execute(_TAKE_LEFT, self._terms_left())).one_or_none()
        await connection.commit()
        return None if row is None else Lease(row[0], row[1])

    async def may_come_free(self, connection: AsyncConnection) -> bool:
        """Tell whether a customer of the run may be taken later, or now as the holder is gone."""
        freed = await self._free_those_of_the_gone(connection)
        held = await connection.scalar(_IS_ANY_HELD, self._terms_left())
        await connection.commit()
        return freed or bool(held)

    def _terms_left(self) -> dict[str, object]:
        return {**self._terms, "tried": sorted(self._tried)}

    async def _free_those_of_the_gone(self, connection: AsyncConnection) -> bool:
        """End the leases of holders whose connection is gone; tell whether there were any."""
        freed = False
        holders = (await connection.execute(_OTHER_HOLDERS, self._terms)).scalars().all()
        await connection.commit()
        for holder in holders:
            if await connection.scalar(_IS_GONE, {"holder": holder}):
                await connection.execute(_ABANDON, {"holder": holder})
                freed = True
            await connection.commit()
        return freed

    async def _renew(self, present: asyncio.Event) -> None:
        """Renew what is held, on the connection whose end tells others that we are gone.

        Each renewal commits by itself: one that waited while we were frozen must lock nobody out.
        """
        while True:
            try:
                async with self._engine.connect() as connection:
                    try:
                        await connection.execution_options(isolation_level="AUTOCOMMIT")
                        await connection.execute(_LIVE, {"holder": self._holder})
                        present.set()
                        while True:
                            await asyncio.sleep(self._seconds / 4)
                            await connection.execute(_RENEW, self._terms)
                    finally:
                        # The lock goes with the connection, which must not come back to the pool.
                        await asyncio.shield(connection.invalidate())
            except (SQLAlchemyError, *TRANSIENT):
                log.warning("leases could not be renewed; trying again", exc_info=True)
                await asyncio.sleep(min(1.0, self._seconds / 4))
