"""The invoicer is killed with SIGKILL between any two calls to Stripe, and resumed (I8).

Each customer of the run is the one under whose delivery the process dies at one call of the
sequence: with the call not made, or with its effect done and the answer lost. The next process
takes up what is left. In the end there is exactly one invoice each, and it is right.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

import pytest
from starlette.responses import Response

from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import bands, total_minor
from tests.services.invoicer.proxy import Call, LostError, Proxy, running_proxy
from tests.services.invoicer.stripe_side import StripeSide, stripe_side

SEQUENCE = [
    "GET customers",
    "POST customers",
    "POST invoices",
    "POST invoices/add_lines",
    "POST invoices/add_lines",
    "GET invoices",
    "GET invoices/lines",
    "GET invoices/lines",
    "POST invoices/finalize",
]
"""The calls for a new customer with more than a hundred lines."""

When = Literal["before", "after"]
_ROOT = Path(__file__).parents[2]
LINES = bands(101)
PLAN: list[tuple[int, When]] = [
    (place, when) for place in range(len(SEQUENCE)) for when in ("before", "after")
]


@dataclass
class Killer:
    """Watches the calls, and kills the process at the one that the customer's turn says."""

    plan: Iterator[tuple[int, When]]
    process: asyncio.subprocess.Process | None = None
    turn: tuple[int, When] | None = None
    made: int = 0
    killed: int = 0

    def __post_init__(self) -> None:
        self._seen: set[str] = set()

    async def before(self, call: Call) -> Response | None:
        """Count the calls of a customer who is new; those for one from before pass."""
        email = parse_qs(call.query).get("email", [""])[0]
        if email and email not in self._seen:
            self._seen.add(email)
            self.turn, self.made = next(self.plan, None), 0
        if self.turn is not None:
            place, when = self.turn
            assert self.made > place or call.name == SEQUENCE[self.made]
            self.made += 1
            if self.made == place + 1 and when == "before":
                self._kill()
        return None

    async def after(self, _call: Call, answer: Response) -> Response:
        """Kill once the call has had its effect, so that nobody hears of it."""
        if self.turn is not None and self.made == self.turn[0] + 1:
            self._kill()
        return answer

    def _kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.turn = None
        self.killed += 1
        raise LostError


@pytest.fixture
async def proxy(world: World) -> AsyncIterator[Proxy]:
    await world.start_stripe()
    async with running_proxy(world.settings.stripe_api_base or "") as made:
        yield made


@pytest.fixture
async def stripe(world: World) -> AsyncIterator[StripeSide]:
    process = await world.start_stripe()
    async with stripe_side(process.url, world.directory / "stripe.sqlite3") as side:
        yield side


async def _resume(world: World, proxy: Proxy, killer: Killer) -> int:
    """Send the run in a process of its own, by way of the proxy; gives how it ended."""
    environment = {
        **world.environment,
        "TALLYBOOK_STRIPE_API_BASE": proxy.url,
        "TALLYBOOK_INVOICER_WORKERS": "1",
    }
    killer.process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.services.invoicer.sending_process", f"run_{world.period}"),
        env=environment,
        cwd=_ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        return await killer.process.wait()


@pytest.mark.parametrize("keys", ["remembered", "forgotten"])
async def test_killed_at_every_call(
    world: World, proxy: Proxy, stripe: StripeSide, keys: str
) -> None:
    await world.apply_catalogue()
    customers = {f"customer-{number:02d}": LINES for number in range(len(PLAN) + 1)}
    await months.fill_month(world, customers)
    await months.start(world)
    killer = Killer(iter(PLAN))
    proxy.before, proxy.after = killer.before, killer.after

    for ended in itertools.count(1):
        status = await _resume(world, proxy, killer)
        if status == 0:
            break
        assert (status, ended) == (-9, killer.killed)
        if keys == "forgotten":
            stripe.forget_keys()

    assert killer.killed == len(PLAN)
    again = await world.fetch(
        "SELECT subject, step FROM stripe_intents GROUP BY 1, 2 HAVING count(*) > 1"
    )
    assert again == [], "a step that is done again must have the key that it had"
    await _assert_each_once(world, stripe, len(customers))


async def _assert_each_once(world: World, stripe: StripeSide, count: int) -> None:
    held = await stripe.invoices()
    books = await months.invoices(world)
    assert {one.state for one in books.values()} == {"finalized"}
    assert await stripe.counts() == {
        "customer": {"active": count},
        "invoice": {"open": count},
        "line_item": {"total": count * len(LINES)},
    }
    assert {(one["metadata"]["tallybook_customer"], one["total"]) for one in held} == {
        (customer, total_minor(LINES)) for customer in books
    }
    assert {one["id"] for one in held} == {one.stripe_invoice_id for one in books.values()}
    assert len({one["customer"] for one in held}) == count


async def test_every_call_that_changes_stripe_was_written_down_before(
    world: World, proxy: Proxy, stripe: StripeSide
) -> None:
    await world.apply_catalogue()
    await months.fill_month(world, {"acme": LINES})
    await months.start(world)

    async def known_before(call: Call) -> None:
        if call.method == "POST":
            rows = await world.fetch(
                "SELECT FROM stripe_intents WHERE idempotency_key = $1", call.key
            )
            assert len(rows) == 1, call.name

    proxy.before = known_before
    assert await _resume(world, proxy, Killer(iter(()))) == 0
    assert [call.name for call in proxy.calls] == SEQUENCE
    assert all("idempotency" not in call.body for call in proxy.calls)
    rows = await world.fetch("SELECT subject, step FROM stripe_intents ORDER BY first_sent_at")
    assert [row["step"] for row in rows] == [
        "create",
        "create",
        "lines 1 to 100",
        "lines 101 to 101",
        "finalize",
    ]
