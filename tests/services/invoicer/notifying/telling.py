"""What tests of deliveries need: an outbox, endpoints, and rounds under a clock. I/O."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.invoicer.notifying.delivery import overview
from services.invoicer.notifying.delivery.rounds import Rounds
from services.invoicer.notifying.endpoints import store
from services.invoicer.notifying.outbox.notices import Notice
from services.invoicer.notifying.outbox.putting import put_all
from services.invoicer.notifying.transport.courier import Courier
from shared.clock import present
from shared.settings import Settings
from shared.tables.notices import NoticeEndpoint
from tests.integration.harness.world import World

MOMENT = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
ACTOR = "ada"


def notice(key: str = "inv_1", **more: Any) -> Notice:
    """Make a notice that an invoice is paid, unless said otherwise."""
    given = {
        "type": "invoice.paid",
        "key": key,
        "subject": key,
        "occurred_at": MOMENT,
        "data": {"invoice": key, "total": "15.00", "currency": "USD"},
    }
    return Notice(**{**given, **more})


@dataclass
class Telling:
    """A world whose invoicer tells what happens; time is moved by hand."""

    world: World
    settings: Settings
    courier: Courier
    rounds: Rounds
    ahead: timedelta = field(default_factory=timedelta)

    def clock(self) -> datetime:
        """Give the present moment, as far ahead as the test has gone."""
        return present() + self.ahead

    async def add(self, url: str, *types: str) -> NoticeEndpoint:
        """Add an endpoint."""
        async with self.world.sessions("tallybook_invoicer") as session:
            return await store.add_endpoint(
                session,
                self.settings,
                url,
                types=types,
                description="of the tests",
                actor=ACTOR,
                now=self.clock(),
            )

    async def put(self, *notices: Notice) -> None:
        """Put notices, and commit."""
        async with self.world.sessions("tallybook_invoicer") as session:
            await put_all(session, notices)
            await session.commit()

    async def go(self, **later: float) -> None:
        """Do one round to its end, so much later."""
        self.ahead += timedelta(**later)
        await self.rounds.begin()
        await self.rounds.finish()

    async def states(self) -> list[str]:
        """Give the state of each delivery, the newest first."""
        return [one.state for one in await self.listed()]

    async def listed(self) -> Sequence[overview.Listed]:
        """Give the deliveries, the newest first."""
        async with self.world.sessions("tallybook_invoicer") as session:
            return await overview.list_deliveries(session)


@contextlib.asynccontextmanager
async def telling(world: World, **settings: object) -> AsyncIterator[Telling]:
    """Have what is told by, with receivers on this machine unless said otherwise."""
    given = world.settings.model_copy(update={"webhook_private_addresses": True, **settings})
    async with Courier(given) as courier:
        made = Telling(world, given, courier, None)  # type: ignore[arg-type]
        async with Rounds(world.engine("tallybook_invoicer"), courier, made.clock) as rounds:
            made.rounds = rounds
            yield made
