"""Calls stop when Stripe is down or takes nothing from us, and not for one customer's fault."""

from collections.abc import Awaitable, Callable

import pytest

from services.invoicer.breaker import Breaker, RunStoppedError
from services.invoicer.stripe_objects import Reach, StripeFault


def failing(reach: Reach) -> Callable[[], Awaitable[str]]:
    async def call() -> str:
        raise StripeFault("it is so", retry="soon", reach=reach)

    return call


async def working() -> str:
    return "answer"


async def fail(breaker: Breaker, reach: Reach, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StripeFault):
            await breaker.call(failing(reach))


async def test_it_opens_after_so_many_failures_in_a_row_and_says_why() -> None:
    breaker = Breaker(most_failures=3)
    await fail(breaker, "stripe", 2)
    with pytest.raises(RunStoppedError, match=r"3 calls in a row failed.* it is so"):
        await breaker.call(failing("stripe"))
    with pytest.raises(RunStoppedError):
        await breaker.call(working)


@pytest.mark.parametrize("answered", [True, False])
async def test_any_answer_begins_the_count_anew(answered: bool) -> None:
    breaker = Breaker(most_failures=3)
    for _ in range(5):
        await fail(breaker, "stripe", 2)
        if answered:
            assert await breaker.call(working) == "answer"
        else:
            await fail(breaker, "call", 1)
    assert breaker.reason is None


async def test_a_key_that_is_refused_opens_it_at_once() -> None:
    breaker = Breaker()
    with pytest.raises(RunStoppedError, match="nothing more was sent"):
        await breaker.call(failing("account"))
    assert breaker.reason is not None
