"""The invoicer as a process: it sends in the background, and outlives faults around it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from tests.integration.harness.waiting import until
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item, bands
from tests.services.invoicer.proxy import Call, Proxy, running_proxy
from tests.services.invoicer.stripe_side import StripeSide, stripe_side

CUSTOMERS = {"acme": [Item("10")], "bob": bands(12), "cyd": [Item("3")]}


@pytest.fixture
async def proxy(world: World) -> AsyncIterator[Proxy]:
    """The way to Stripe of the world's invoicer."""
    await world.apply_catalogue()
    await months.fill_month(world, CUSTOMERS)
    process = await world.start_stripe()
    async with running_proxy(process.url) as made:
        yield made


@pytest.fixture
async def stripe(world: World) -> AsyncIterator[StripeSide]:
    process = await world.start_stripe()
    async with stripe_side(process.url, world.directory / "stripe.sqlite3") as side:
        yield side


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {world.finance_key}"}
    url = f"{world.settings.invoicer_url}/v1"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        yield client


async def _ended(http: httpx.AsyncClient, run_id: str) -> Any:
    """Wait until a run is not being sent any more; give it."""
    run: Any = None

    async def ended() -> bool:
        nonlocal run
        run = (await http.get(f"/runs/{run_id}")).json()
        return bool(run["state"] != "sending")

    await until(ended)
    return run


class Gate:
    """Holds every call to Stripe until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0

    async def __call__(self, _call: Call) -> Response | None:
        self.waiting += 1
        await self.opened.wait()
        return None

    async def has_waiting(self) -> bool:
        return self.waiting > 0


async def _start(world: World, proxy: Proxy, http: httpx.AsyncClient) -> str:
    await world.start("invoicer", stripe_api_base=proxy.url)
    run = (await http.post("/runs", json={"period": str(world.period)})).json()
    return str(run["id"])


async def test_asking_again_while_a_run_is_sent_sends_nothing_twice(
    world: World, proxy: Proxy, stripe: StripeSide, http: httpx.AsyncClient
) -> None:
    gate = Gate()
    proxy.before = gate
    run_id = await _start(world, proxy, http)
    for _ in range(3):
        answer = await http.post(f"/runs/{run_id}/send")
        assert (answer.status_code, answer.json()["state"]) == (202, "sending")
    await until(gate.has_waiting)
    assert (await http.get(f"/runs/{run_id}")).json()["state"] == "sending"
    gate.opened.set()
    assert (await _ended(http, run_id))["states"] == {"finalized": 3}
    made = Counter(call.name for call in proxy.calls)
    assert (made["POST customers"], made["POST invoices"], made["POST invoices/finalize"]) == (
        3,
        3,
        3,
    )
    assert (await stripe.counts())["invoice"] == {"open": 3}


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_run_whose_process_ended_goes_on_when_it_is_sent_again(
    world: World, proxy: Proxy, stripe: StripeSide, http: httpx.AsyncClient, how: str
) -> None:
    gate = Gate()
    proxy.before = gate
    run_id = await _start(world, proxy, http)
    await http.post(f"/runs/{run_id}/send")
    await until(gate.has_waiting)
    (invoicer,) = [one for one in world.processes if one.name == "invoicer"]
    if how == "killed":
        await invoicer.kill()
    else:
        assert await invoicer.stop() in (0, -15)
    gate.opened.set()
    await world.start("invoicer", stripe_api_base=proxy.url)
    assert (await http.get(f"/runs/{run_id}")).json()["state"] == "sending"
    await http.post(f"/runs/{run_id}/send")
    assert (await _ended(http, run_id))["state"] == "done"
    assert (await stripe.counts())["invoice"] == {"open": 3}


async def test_while_postgres_is_away_it_says_so_and_comes_back_by_itself(
    world: World, proxy: Proxy, http: httpx.AsyncClient
) -> None:
    await _start(world, proxy, http)
    answers: list[httpx.Response] = []
    away = asyncio.create_task(world.restart_postgres())
    while not away.done():
        answers.append(await http.get("/invoices"))
    await away
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {200, 503}
    problems = [answer for answer in answers if answer.status_code == 503]
    assert {answer.headers["content-type"] for answer in problems} == {"application/problem+json"}
    assert {answer.headers["retry-after"] for answer in problems} == {"1"}

    async def back() -> bool:
        return (await http.get("/invoices")).is_success

    await until(back)
    (invoicer,) = [one for one in world.processes if one.name == "invoicer"]
    assert invoicer.status is None


async def test_a_run_cut_off_from_postgres_is_finished_when_sent_again(
    world: World, proxy: Proxy, stripe: StripeSide, http: httpx.AsyncClient
) -> None:
    gate = Gate()
    proxy.before = gate
    run_id = await _start(world, proxy, http)
    await http.post(f"/runs/{run_id}/send")
    await until(gate.has_waiting)
    await world.restart_postgres()
    gate.opened.set()

    async def sent() -> bool:
        answer = await http.post(f"/runs/{run_id}/send")
        return answer.is_success and (await _ended(http, run_id))["state"] == "done"

    await until(sent)
    assert (await stripe.counts())["invoice"] == {"open": 3}


async def test_it_answers_before_postgres_is_there(world: World) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:9/nowhere"
    process = await world.start("invoicer", wait=False, database_url=nowhere)

    async def live() -> bool:
        try:
            return (await world.http.get(f"{process.url}/health/live")).is_success
        except httpx.HTTPError:
            return False

    await until(live)
    ready = await world.http.get(f"{process.url}/health/ready")
    assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["postgres"])
    asked = await world.http.get(f"{process.url}/v1/periods")
    assert (asked.status_code, asked.json()["type"]) == (503, "urn:tallybook:problem:starting")
