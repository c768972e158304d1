"""A month's books, taken all the way to Stripe, and ways to spoil them. I/O: all of it.

Nothing checks what is spoiled: rows are changed as the superuser, and without triggers.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.invoicer.reconciliation.classify import Reconciliation, reconcile
from services.invoicer.reconciliation.differences import Difference
from services.invoicer.reconciliation.gather import gather
from services.invoicer.stripe_gateway import StripeGateway
from shared.periods import Period
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.stripe_side import StripeSide, stripe_side


@dataclass
class Books:
    """A month that was invoiced, and ways to spoil it."""

    world: World
    stripe: StripeSide
    gateway: StripeGateway

    async def reconcile(self, period: Period | None = None) -> Reconciliation:
        """Compare everything."""
        engine = self.world.engine("tallybook_invoicer")
        figures = await gather(
            self.world.settings, engine, self.gateway, period or self.world.period
        )
        return reconcile(figures)

    async def critical(self) -> dict[str, Difference]:
        """Give the critical differences by class."""
        found = (await self.reconcile()).differences
        return {one.name: one for one in found if one.severity == "critical"}

    @asynccontextmanager
    async def spoiled(self, *statements: str, back: str = "") -> AsyncIterator[None]:
        """Change rows as nobody may, without triggers; put back what `back` says."""
        await self._force(*statements)
        try:
            yield
        finally:
            await self._force(back)

    @asynccontextmanager
    async def updated(self, table: str, change: str, where: str) -> AsyncIterator[int]:
        """Set columns of some rows, as nobody may; gives how many, and puts them back."""
        async with self.world.connect() as connection:
            await connection.execute("SET session_replication_role = replica")
            rows = await connection.fetch(f"SELECT * FROM {table} WHERE {where}")
            await connection.execute(f"CREATE TABLE kept AS SELECT * FROM {table} WHERE {where}")
            await connection.execute(f"UPDATE {table} SET {change} WHERE {where}")
        try:
            yield len(rows)
        finally:
            await self._force(
                f"DELETE FROM {table} WHERE {where}",
                f"INSERT INTO {table} SELECT * FROM kept",
                "DROP TABLE kept",
            )

    async def _force(self, *statements: str) -> None:
        async with self.world.connect() as connection:
            await connection.execute("SET session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)

    async def held(self, customer: str) -> dict[str, Any]:
        """Give a customer's invoice at Stripe."""
        (invoice,) = await self.stripe.invoices(customer)
        return invoice


@asynccontextmanager
async def invoiced(world: World) -> AsyncIterator[Books]:
    """Close a world's month, which the rater has caught up with, and send its invoices."""
    async with AsyncExitStack() as held:
        process = await world.start_stripe()
        side = stripe_side(process.url, world.directory / "stripe.sqlite3")
        stripe = await held.enter_async_context(side)
        gateway = await held.enter_async_context(StripeGateway(world.settings))
        await months.start(world)
        assert (await months.send(world, gateway)).state == "done"
        yield Books(world, stripe, gateway)
