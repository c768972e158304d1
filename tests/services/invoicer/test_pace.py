"""Calls to Stripe go out evenly, under the limits, and none of the rate is lost."""

import asyncio

import pytest
from pydantic import SecretStr

from services.invoicer.pace import Pace, pace_for
from shared.settings import SANDBOX_STRIPE_KEY, Settings


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def times(pace: Pace, clock: Clock, *endpoints: str) -> list[float]:
    found = []
    for endpoint in endpoints:
        await pace.turn(endpoint)
        found.append(round(clock.now - 100, 6))
    return found


async def test_without_a_limit_nothing_waits() -> None:
    clock = Clock()
    assert await times(Pace(clock=clock, sleep=clock.sleep), clock, *"aaaa") == [0, 0, 0, 0]


async def test_an_endpoint_has_its_own_limit_beside_that_of_all() -> None:
    clock = Clock()
    pace = Pace(whole=10, each=2, clock=clock, sleep=clock.sleep)
    assert await times(pace, clock, "a", "b", "a", "c") == [0, 0.1, 0.5, 0.5]


async def test_time_in_which_nobody_called_is_not_saved_up() -> None:
    clock = Clock()
    pace = Pace(whole=10, clock=clock, sleep=clock.sleep)
    await pace.turn("a")
    clock.now += 60
    assert await times(pace, clock, "a", "a", "a") == [60, 60.1, 60.2]


async def test_workers_share_the_rate_and_use_all_of_it() -> None:
    pace = Pace(whole=400)
    loop = asyncio.get_running_loop()
    began = loop.time()
    made: list[float] = []

    async def work() -> None:
        for _ in range(10):
            await pace.turn("a")
            made.append(loop.time() - began)

    await asyncio.gather(*(work() for _ in range(8)))
    assert len(made) == 80
    assert all(at >= n / 400 - 0.001 for n, at in enumerate(sorted(made)))


@pytest.mark.parametrize(
    ("key", "given", "limits"),
    [
        (SANDBOX_STRIPE_KEY, {}, (None, None)),
        ("sk_test_1", {}, (25, 25)),
        ("rk_live_1", {}, (100, 25)),
        ("sk_live_1", {"stripe_calls_per_second": 40}, (40, 25)),
        (SANDBOX_STRIPE_KEY, {"stripe_endpoint_calls_per_second": 7}, (None, 7)),
    ],
)
def test_the_limits_follow_from_the_key_and_the_settings(
    key: str, given: dict[str, float], limits: tuple[float | None, float | None]
) -> None:
    settings = Settings().model_copy(update={"stripe_api_key": SecretStr(key), **given})
    pace = pace_for(settings)
    assert (pace._whole, pace._each) == limits
