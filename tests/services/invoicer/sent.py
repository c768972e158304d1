"""A month that was sent: its world, its Stripe, and a gateway that goes by way of a proxy."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.invoicer.following.events import StripeEvent, read_event
from services.invoicer.following.follower import Follower
from services.invoicer.following.voiding import Voided, Voiding
from services.invoicer.patience import Patience
from services.invoicer.stripe_gateway import StripeGateway
from shared.clock import Clock, present
from shared.tables.invoicer import Invoice
from tests.infra.stripe_sandbox.checked import ok
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item
from tests.services.invoicer.proxy import Proxy, running_proxy
from tests.services.invoicer.stripe_side import Json, StripeSide, stripe_side

HURRIED = Patience(attempts=3, first_delay=0.01, longest_delay=0.02)
ITEMS = [Item("10"), Item("5", "other")]
ACTOR = "ada"


@dataclass
class SentMonth:
    """What tests of an invoice's later life need."""

    world: World
    stripe: StripeSide
    proxy: Proxy
    gateway: StripeGateway

    async def send(self) -> str:
        """Send the run; gives its state."""
        return (await months.send(self.world, self.gateway, patience=HURRIED)).state

    async def invoices(self, customer: str = "acme") -> list[Invoice]:
        """Give a customer's invoices, the first revision first."""
        query = "SELECT id FROM invoices WHERE customer_id = $1 ORDER BY revision"
        ids = [row["id"] for row in await self.world.fetch(query, customer)]
        async with self.world.sessions("tallybook_invoicer") as session:
            return [await session.get_one(Invoice, one) for one in ids]

    async def invoice(self, customer: str = "acme") -> Invoice:
        """Give the customer's latest invoice."""
        return (await self.invoices(customer))[-1]

    async def states(self, customer: str = "acme") -> list[str]:
        """Give the states of a customer's invoices."""
        return [one.state for one in await self.invoices(customer)]

    async def held(self, customer: str = "acme") -> list[tuple[str, int]]:
        """Give status and total of a customer's invoices at Stripe, the newest first."""
        return [(one["status"], one["total"]) for one in await self.stripe.invoices(customer)]

    async def at_stripe(self, customer: str, act: str, **values: bool) -> Json:
        """Do to a customer's latest invoice what a person at Stripe's dashboard can."""
        invoice = await self.invoice(customer)
        path = f"/v1/invoices/{invoice.stripe_invoice_id}/{act}"
        return ok(await self.stripe.api.post(path, values))

    def follower(self, clock: Clock = present) -> Follower:
        """Give what lets invoices follow Stripe."""
        return Follower(self.world.engine("tallybook_invoicer"), self.gateway, clock, HURRIED)

    async def events(self) -> list[StripeEvent]:
        """Give what Stripe's list tells happened, the oldest first."""
        page = ok(await self.stripe.api.get("/v1/events", {"limit": 100}))
        return [read_event(one) for one in page["data"][::-1]]

    async def void(
        self,
        invoice: Invoice,
        *,
        why: str = "wrong address",
        reissue: bool = False,
        clock: Clock = present,
    ) -> Voided:
        """Void an invoice."""
        voiding = Voiding(self.world.engine("tallybook_invoicer"), self.gateway, clock, HURRIED)
        return await voiding.void(invoice.id, why=why, reissue=reissue, actor=ACTOR)

    async def acts(self, subject: str) -> list[str]:
        """Give what the audit trail says was done to an invoice, and by whom."""
        query = "SELECT act, actor FROM audit_entries WHERE subject = $1 ORDER BY id"
        return [f"{row['act']} {row['actor']}" for row in await self.world.fetch(query, subject)]


@contextlib.asynccontextmanager
async def sent_month(world: World, **customers: list[Item]) -> AsyncIterator[SentMonth]:
    """Freeze a month of these customers and send it."""
    await world.apply_catalogue()
    await months.fill_month(world, customers)
    await months.start(world)
    process = await world.start_stripe()
    async with (
        stripe_side(process.url, world.directory / "stripe.sqlite3") as stripe,
        running_proxy(process.url) as proxy,
        StripeGateway(world.settings.model_copy(update={"stripe_api_base": proxy.url})) as gateway,
    ):
        month = SentMonth(world, stripe, proxy, gateway)
        assert await month.send() == "done"
        yield month
