"""Every crash point, every fault at every call, and both at once: one invoice, right (I8, I9).

Each case is a customer of one run. Its delivery dies at a point between two effects, or meets
a fault at one of its calls, or both; then Stripe may have forgotten its idempotency keys; then
the run is sent as a whole. Stripe is the sandbox, in this process.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from infra.stripe_sandbox.app import make_app
from services.invoicer.calls import Calls
from services.invoicer.delivering import Delivery
from services.invoicer.patience import Patience
from services.invoicer.stripe_gateway import StripeGateway
from shared.clock import present
from shared.tables.invoicer import Invoice
from tests.infra.stripe_sandbox.checked import lines_of, ok
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.crash_points import (
    FAULTS,
    FaultyHTTP,
    FaultyTransport,
    Way,
    on_the_way,
    watch_commits,
)
from tests.services.invoicer.postings import bands
from tests.services.invoicer.stripe_side import StripeSide

AT_ONCE = 8
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
POINTS = {"new": 24, "known": 28}
CALLS = {"new": 6, "known": 7}
HURRIED = Patience(attempts=2, first_delay=0, longest_delay=0)


@dataclass(frozen=True)
class Case:
    """What becomes of one customer's first delivery, and what is at Stripe before it.

    `stripe`: the customer is `new` there, or `known`, with foreign invoices, and with drafts
    of ours, one of them wrong.
    """

    stripe: str
    crash_at: int | None = None
    fault: Any = None
    at_call: int = 0

    @property
    def way(self) -> Way:
        """Give the delivery."""
        return Way(self.crash_at, self.fault, self.at_call)


def cases() -> list[Case]:
    """Make each crash, each fault, and crashes that follow a fault; at night all of these."""
    made: list[Case] = []
    for stripe in ("new", "known"):
        crashes = range(POINTS[stripe])
        made += [Case(stripe, crash_at) for crash_at in crashes]
        for turn, (fault, call) in enumerate(itertools.product(FAULTS, range(CALLS[stripe]))):
            made.append(Case(stripe, None, fault, call))
            some = crashes if NIGHTLY else [place for place in crashes if place % 20 == turn % 20]
            made += [Case(stripe, crash_at, fault, call) for crash_at in some]
    return made


class Matrix:
    """A run, one customer for each case, and a Stripe in this process."""

    def __init__(
        self, world: World, gateway: StripeGateway, wire: FaultyTransport, stripe: StripeSide
    ) -> None:
        self.world = world
        self.gateway = gateway
        self.wire = wire
        self.stripe = stripe

    async def freeze(self, all_cases: Sequence[Case]) -> list[Invoice]:
        """Freeze an invoice for each case, and put at Stripe what is there before."""
        names = [f"customer-{place:05d}" for place in range(len(all_cases))]
        await months.fill_month_alike(self.world, names)
        await months.start(self.world)
        found = await months.invoices(self.world)
        frozen = [found[name] for name in names]
        for case, invoice in zip(all_cases, frozen, strict=True):
            if case.stripe == "known":
                await self._put_at_stripe(invoice)
        return frozen

    async def _put_at_stripe(self, invoice: Invoice) -> None:
        customer = invoice.customer_id
        twin = await self.stripe.api.customer(
            email=f"{customer}@example.com", metadata={"tallybook_customer": customer}
        )
        await self.stripe.api.draft(twin["id"], metadata={"foreign": "yes"})
        ours = {
            "billing_key": invoice.billing_key,
            "payload_sha256": invoice.payload_sha256,
            "tallybook_customer": customer,
        }
        await self.stripe.api.draft(twin["id"], metadata=ours)
        wrong = await self.stripe.api.draft(twin["id"], metadata=ours)
        ok(await self.stripe.api.post(f"/v1/invoices/{wrong['id']}/add_lines", lines_of(50)))

    async def deliver(self, invoice: Invoice, way: Way) -> None:
        """Deliver an invoice until it is done, or dies."""
        engine = self.world.engine("tallybook_invoicer")
        async with on_the_way(way), AsyncSession(engine, expire_on_commit=False) as session:
            mine = await session.get_one(Invoice, invoice.id)
            await session.commit()
            calls = Calls(session, HURRIED, present)
            await Delivery(calls, self.gateway, mine, days_until_due=30).make()

    async def wrong(self, frozen: Sequence[Invoice], all_cases: Sequence[Case]) -> list[str]:
        """Name the cases whose customer does not have one right invoice, here and at Stripe."""
        held: dict[str | None, list[Any]] = {}
        foreign = 0
        for one in await self.stripe.invoices():
            foreign += one["metadata"].get("foreign") == "yes" and one["status"] == "draft"
            held.setdefault(one["metadata"].get("billing_key"), []).append(one)
        books = await months.invoices(self.world)
        found = [f"{foreign} foreign drafts"] if foreign != _known(all_cases) else []
        for place, (case, was) in enumerate(zip(all_cases, frozen, strict=True)):
            total = months.total_alike(place)
            mine = books[was.customer_id]
            theirs = [
                (one["id"], one["status"], one["total"]) for one in held.get(was.billing_key, [])
            ]
            right = [(mine.stripe_invoice_id, "open", total)]
            if (mine.state, mine.total_minor, theirs) != ("finalized", total, right):
                found.append(f"{case}: {mine.state} {mine.last_error}, at Stripe {theirs}")
        return found


def _known(all_cases: Sequence[Case]) -> int:
    return sum(case.stripe == "known" for case in all_cases)


@pytest.fixture
async def matrix(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Matrix]:
    await world.apply_catalogue()
    watch_commits(monkeypatch)
    file = tmp_path / "stripe.sqlite3"
    sandbox = httpx.ASGITransport(make_app(file))
    wire = FaultyTransport(sandbox)
    settings = world.settings.model_copy(update={"stripe_api_base": "http://sandbox"})
    headers = {"Authorization": f"Bearer {settings.stripe_api_key.get_secret_value()}"}
    async with (
        StripeGateway(settings, http_client=FaultyHTTP(wire)) as gateway,
        httpx.AsyncClient(transport=sandbox, base_url="http://sandbox", headers=headers) as http,
    ):
        yield Matrix(world, gateway, wire, StripeSide(http, file))


async def _each(frozen: Sequence[Invoice], all_cases: Sequence[Case], matrix: Matrix) -> None:
    left: Iterator[tuple[Invoice, Case]] = iter(zip(frozen, all_cases, strict=True))

    async def work() -> None:
        for invoice, case in left:
            await matrix.deliver(invoice, case.way)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


@pytest.mark.parametrize("keys", ["remembered", "forgotten"])
@pytest.mark.timeout(1800 if NIGHTLY else 300)
async def test_every_crash_and_fault_ends_in_one_right_invoice(matrix: Matrix, keys: str) -> None:
    all_cases = cases()
    frozen = await matrix.freeze(all_cases)
    await _each(frozen, all_cases, matrix)
    if keys == "forgotten":
        matrix.stripe.forget_keys()
        matrix.wire.forget_keys()
    for _ in range(3):
        run = await months.send(matrix.world, matrix.gateway, patience=HURRIED)
        if run.state == "done":
            break
    assert await matrix.wrong(frozen, all_cases) == []
    assert run.state == "done"
    query = "SELECT subject FROM outbox WHERE type = 'invoice.finalized'"
    told = sorted(row["subject"] for row in await matrix.world.fetch(query))
    assert told == sorted(one.id for one in frozen)


@pytest.mark.parametrize("stripe", ["new", "known"])
async def test_the_points_and_calls_are_all_that_there_are(matrix: Matrix, stripe: str) -> None:
    """The matrix would miss a point that somebody adds; so its numbers are held to a delivery."""
    case = Case(stripe)
    (invoice,) = await matrix.freeze([case])
    way = case.way
    await matrix.deliver(invoice, way)
    assert (len(way.points), way.calls) == (POINTS[stripe], CALLS[stripe]), way.points
    assert await matrix.wrong([invoice], [case]) == []


async def test_an_ordinary_invoice_takes_five_calls(matrix: Matrix) -> None:
    """Ordinary: of a customer who had an invoice before. The very first one takes six."""
    dollars, euros = bands(3), [replace(item, currency="EUR") for item in bands(3)]
    await months.fill_month(matrix.world, {"acme": [*dollars, *euros]})
    await months.start(matrix.world)
    run = await months.send(matrix.world, matrix.gateway)
    assert run.state == "done"
    assert len(await matrix.stripe.invoices("acme")) == 2
    assert len(matrix.wire.calls) == 6 + 5
