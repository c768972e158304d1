"""A call is tried again only while that makes sense, and never too soon."""

import pytest

from services.invoicer.patience import Patience
from services.invoicer.stripe_objects import Retry, StripeFault


class Calls:
    """A call that fails with the given faults, one after the other, and then works."""

    def __init__(self, *faults: StripeFault) -> None:
        self.left = list(faults)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.left:
            raise self.left.pop(0)
        return "answer"


def fault(retry: Retry = "soon", retry_after: float | None = None) -> StripeFault:
    return StripeFault("no", retry=retry, retry_after=retry_after)


class Slept(list[float]):
    """The delays, which take no time here."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def slept() -> Slept:
    return Slept()


async def test_a_call_that_works_is_made_once(slept: Slept) -> None:
    calls = Calls()
    assert await Patience(sleep=slept).call(calls) == "answer"
    assert (calls.made, slept) == (1, [])


async def test_delays_double_up_to_the_longest_and_are_spread(slept: Slept) -> None:
    calls = Calls(*(fault() for _ in range(5)))
    patience = Patience(attempts=6, first_delay=1, longest_delay=4, sleep=slept)
    assert await patience.call(calls) == "answer"
    for delay, most in zip(slept, [1, 2, 4, 4, 4], strict=True):
        assert most / 2 <= delay <= most


async def test_stripes_own_word_on_the_delay_is_heeded(slept: Slept) -> None:
    await Patience(first_delay=0.1, sleep=slept).call(Calls(fault(retry_after=7)))
    assert slept == [7]


async def test_in_the_end_the_last_fault_is_raised(slept: Slept) -> None:
    calls = Calls(*(fault() for _ in range(9)))
    with pytest.raises(StripeFault):
        await Patience(attempts=3, sleep=slept).call(calls)
    assert (calls.made, len(slept)) == (3, 2)


@pytest.mark.parametrize("retry", ["later", "never"])
async def test_what_would_fail_again_is_not_tried_again(slept: Slept, retry: Retry) -> None:
    calls = Calls(fault(retry))
    with pytest.raises(StripeFault):
        await Patience(sleep=slept).call(calls)
    assert (calls.made, slept) == (1, [])
