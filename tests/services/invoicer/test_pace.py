"""No second sees more calls than the limit, and nearly as many are made as it lets through."""

import asyncio

import pytest
from pydantic import SecretStr

from services.invoicer.pace import Limits, Pace, endpoint, limits_for
from shared.settings import Settings

CALL = ("POST", "/v1/invoices")


class Time:
    """A clock that only sleeping moves on; sleepers wake in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asleep.append((self.now + seconds, len(self._asleep), woken))
        await woken

    async def run(self, *tasks: "asyncio.Task[None]") -> None:
        while not all(task.done() for task in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            if self._asleep:
                first = min(self._asleep)
                self._asleep.remove(first)
                self.now = first[0]
                first[2].set_result(None)


async def calls_at(limits: Limits, calls: list[tuple[str, str]], workers: int = 8) -> list[float]:
    """Give when each call was made, by workers that share a pace and whose calls take no time."""
    time = Time()
    pace = Pace(limits, time.sleep, lambda: time.now)
    made: list[float] = []
    left = iter(calls)

    async def work() -> None:
        for method, path in left:
            await pace.wait(method, path)
            made.append(time.now)

    await time.run(*(asyncio.create_task(work()) for _ in range(workers)))
    return made


@pytest.mark.parametrize("limit", [10.0, 25.0, 100.0])
async def test_in_no_second_more_calls_are_made_than_the_limit(limit: float) -> None:
    made = await calls_at(Limits(overall=limit), [CALL] * 500)
    for start in made:
        assert sum(start <= one < start + 1 - 1e-9 for one in made) <= limit


@pytest.mark.parametrize("limit", [10.0, 25.0, 100.0])
async def test_no_more_time_goes_by_than_the_limit_asks_for(limit: float) -> None:
    made = await calls_at(Limits(overall=limit), [CALL] * 500)
    assert made[-1] <= 1.15 * len(made) / limit


async def test_an_endpoint_that_is_full_holds_up_no_other() -> None:
    time = Time()
    pace = Pace(Limits(overall=100, endpoint=2), time.sleep, lambda: time.now)
    waiting = [asyncio.create_task(pace.wait("POST", "/v1/invoices")) for _ in range(200)]
    other = asyncio.create_task(pace.wait("GET", "/v1/invoices"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert other.done()
    await time.run(*waiting)


async def test_without_limits_nobody_waits() -> None:
    assert set(await calls_at(Limits(), [CALL] * 50)) == {0.0}


def test_an_endpoint_is_named_without_the_ids() -> None:
    assert endpoint("post", "/v1/invoices/in_1/add_lines") == "POST /v1/invoices/{id}/add_lines"
    assert endpoint("get", "/v1/invoices/in_2") == endpoint("GET", "/v1/invoices/in_1")
    assert endpoint("get", "/v1/invoices") != endpoint("post", "/v1/invoices")


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({"stripe_api_key": SecretStr("sk_live_x")}, Limits(100, 25)),
        ({"stripe_api_key": SecretStr("rk_live_x")}, Limits(100, 25)),
        ({"stripe_api_key": SecretStr("sk_test_x")}, Limits(25, 25)),
        ({"stripe_api_base": "http://sandbox"}, Limits()),
        ({"stripe_api_base": "http://sandbox", "stripe_calls_per_second": 7.0}, Limits(7, None)),
        (
            {"stripe_api_key": SecretStr("sk_live_x"), "stripe_endpoint_calls_per_second": 9.0},
            Limits(100, 9),
        ),
    ],
)
def test_the_limits_are_stripes_own_unless_set(given: dict[str, object], limits: Limits) -> None:
    assert limits_for(Settings(_env_file=None).model_copy(update=given)) == limits
