"""Many who send one run: at once, killed at random, frozen and thawed, and Stripe down (I8)."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from services.invoicer.patience import Patience
from services.invoicer.stripe_gateway import StripeGateway
from shared.web import wait_until
from tests.integration.harness.waiting import until
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.proxy import Call, running_proxy
from tests.services.invoicer.stripe_side import StripeSide, stripe_side

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
_ROOT = Path(__file__).parents[2]


@pytest.fixture
async def stripe(world: World) -> AsyncIterator[StripeSide]:
    await world.apply_catalogue()
    process = await world.start_stripe()
    async with stripe_side(process.url, world.directory / "stripe.sqlite3") as side:
        yield side


def names(count: int) -> list[str]:
    return [f"customer-{place:04d}" for place in range(count)]


async def start_sending(
    world: World, stripe_url: str, *, lease_seconds: float = 60, workers: int = 4
) -> asyncio.subprocess.Process:
    """Send the run in a process of its own."""
    environment = {
        **world.environment,
        "TALLYBOOK_STRIPE_API_BASE": stripe_url,
        "TALLYBOOK_INVOICER_WORKERS": str(workers),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.services.invoicer.sending_process"),
        *(f"run_{world.period}", str(lease_seconds)),
        env=environment,
        cwd=_ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Wait for a process's end; gives its status and what it said."""
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def assert_each_once(world: World, stripe: StripeSide, customers: Sequence[str]) -> None:
    books = await months.invoices(world)
    held = await stripe.invoices()
    right = {
        (one, books[one].stripe_invoice_id, "open", months.total_alike(place))
        for place, one in enumerate(customers)
    }
    facts = [
        (one["metadata"]["tallybook_customer"], one["id"], one["status"], one["total"])
        for one in held
    ]
    assert sorted(facts) == sorted(right)
    assert {one.state for one in books.values()} == {"finalized"}
    assert {one: books[one].total_minor for one in customers} == {
        one: months.total_alike(place) for place, one in enumerate(customers)
    }


async def test_two_processes_share_a_run(world: World, stripe: StripeSide) -> None:
    """Neither begins before the other is there; then each takes whom the other has not."""
    customers = names(40)
    await months.fill_month_alike(world, customers)
    await months.start(world)
    url = world.settings.stripe_api_base or ""
    async with running_proxy(url) as one, running_proxy(url) as other:
        both = asyncio.Barrier(2)
        met: set[int] = set()

        def meet(place: int) -> None:
            async def before(_call: Call) -> Response | None:
                if place not in met:
                    met.add(place)
                    await both.wait()
                return None

            (one, other)[place].before = before

        meet(0)
        meet(1)
        processes = [await start_sending(world, proxy.url) for proxy in (one, other)]
        results = await asyncio.gather(*(ended(process) for process in processes))
        assert [status for status, _ in results] == [0, 0], results
        made = [[c for c in proxy.calls if c.name == "POST invoices"] for proxy in (one, other)]
    assert len(made[0]) + len(made[1]) == len(customers)
    assert all(made), "one of them did everything"
    await assert_each_once(world, stripe, customers)


@pytest.mark.timeout(1800 if NIGHTLY else 300)
async def test_killed_at_random_and_sent_again(world: World, stripe: StripeSide) -> None:
    count, kills = (2_000, 10) if NIGHTLY else (90, 3)
    customers = names(count)
    await months.fill_month_alike(world, customers)
    await months.start(world)
    url = world.settings.stripe_api_base or ""
    for most in sorted(random.Random(7).sample(range(count - 10), kills)):
        process = await start_sending(world, url)

        async def enough(most: int = most) -> bool:
            query = "SELECT count(*) AS n FROM invoices WHERE state = 'finalized'"
            return bool((await world.fetch(query))[0]["n"] > most)

        async with asyncio.timeout(600):
            await wait_until(enough, first_delay=0.01, longest=0.01)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert (await ended(process))[0] == -signal.SIGKILL
    process = await start_sending(world, url)
    assert (await ended(process))[0] == 0
    await assert_each_once(world, stripe, customers)


@pytest.mark.parametrize("name", ["POST invoices", "POST invoices/add_lines"])
async def test_who_was_frozen_past_a_lease_can_note_nothing_more(
    world: World, stripe: StripeSide, name: str
) -> None:
    """Its call still reaches Stripe once it is thawed, after another has done all of it."""
    customers = names(1)
    await months.fill_month_alike(world, customers)
    await months.start(world)
    url = world.settings.stripe_api_base or ""
    async with running_proxy(url) as proxy, StripeGateway(world.settings) as gateway:
        frozen, thawed = asyncio.Event(), asyncio.Event()

        async def freeze(call: Call) -> Response | None:
            if call.name == name and not frozen.is_set():
                process.send_signal(signal.SIGSTOP)
                frozen.set()
                await thawed.wait()
            return None

        proxy.before = freeze
        process = await start_sending(world, proxy.url, lease_seconds=2)
        try:
            async with asyncio.timeout(60):
                await frozen.wait()
                run = await months.send(world, gateway)
            assert run.state == "done"
        finally:
            process.send_signal(signal.SIGCONT)
            thawed.set()
        status, said = await ended(process)
    assert (status, "a customer was given up" in said) == (0, True), said
    await assert_each_once(world, stripe, customers)
    noted = await world.fetch("SELECT act FROM audit_entries WHERE act LIKE 'invoice.%'")
    assert [row["act"] for row in noted] == ["invoice.finalized"]


async def test_who_was_frozen_within_its_transactions_locks_nobody_out(
    world: World, stripe: StripeSide
) -> None:
    """It is frozen while a renewal and a commit of its own wait for the lease, and get it then."""
    customers = names(1)
    await months.fill_month_alike(world, customers)
    await months.start(world)
    url = world.settings.stripe_api_base or ""
    async with (
        running_proxy(url) as proxy,
        StripeGateway(world.settings) as gateway,
        world.connect() as locking,
    ):
        locked = asyncio.Event()

        async def lock(_call: Call, answer: Response) -> Response:
            if not locked.is_set():
                await locking.execute("BEGIN; SELECT FROM sending_leases FOR UPDATE")
                locked.set()
            return answer

        async def both_wait() -> bool:
            query = (
                "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock' AND query LIKE '%sending_leases%'"
            )
            return bool((await world.fetch(query))[0]["n"] == 2)

        proxy.after = lock
        process = await start_sending(world, proxy.url, lease_seconds=2)
        try:
            async with asyncio.timeout(60):
                await locked.wait()
            await until(both_wait)
            process.send_signal(signal.SIGSTOP)
            await locking.execute("COMMIT")
            async with asyncio.timeout(60):
                run = await months.send(world, gateway)
            assert run.state == "done"
        finally:
            process.send_signal(signal.SIGCONT)
        status, said = await ended(process)
    assert status == 0, said
    await assert_each_once(world, stripe, customers)


async def test_when_stripe_is_down_the_run_stops_and_each_invoice_stays(
    world: World, stripe: StripeSide
) -> None:
    customers = names(40)
    await months.fill_month_alike(world, customers)
    await months.start(world)
    hurried = Patience(attempts=5, first_delay=0.01, longest_delay=0.02)
    async with running_proxy(world.settings.stripe_api_base or "") as proxy:
        settings = world.settings.model_copy(update={"stripe_api_base": proxy.url})
        answered: list[str] = []
        refused: list[str] = []
        all_answered = asyncio.Event()

        async def down(call: Call) -> Response | None:
            if len(proxy.calls) <= 60:
                return None
            await all_answered.wait()  # an answer after a refusal would begin the count anew
            refused.append(call.name)
            return JSONResponse({"error": {"type": "api_error", "message": "down"}}, 503)

        async def up(call: Call, answer: Response) -> Response:
            answered.append(call.name)
            if len(answered) == 60:
                asyncio.get_running_loop().call_later(0.5, all_answered.set)
            return answer

        proxy.before, proxy.after = down, up
        async with StripeGateway(settings) as gateway:
            run = await months.send(world, gateway, patience=hurried)
    assert run.state == "paused"
    assert "20 calls in a row failed" in (run.paused_because or "")
    assert 20 <= len(refused) < 20 + 8
    left = [one for one in (await months.invoices(world)).values() if one.state != "finalized"]
    assert len(left) > 20
    assert {one.attempts for one in left} == {0}

    async with StripeGateway(world.settings) as gateway:
        assert (await months.send(world, gateway, patience=hurried)).state == "done"
    await assert_each_once(world, stripe, customers)
