"""A service's duties go on, whatever went wrong at one of them."""

import asyncio

import pytest

from shared.duty import Duty


@pytest.mark.parametrize("fault", [ConnectionResetError(), ValueError("unforeseen")])
async def test_a_failure_is_told_until_the_work_goes_well_again(fault: Exception) -> None:
    seen: list[str | None] = []
    done = asyncio.Event()

    async def work() -> None:
        seen.append(duty.failing)
        if len(seen) == 2:
            raise fault
        if len(seen) == 4:
            done.set()

    duty = Duty("something", work, seconds=0)
    running = asyncio.create_task(duty.run())
    await done.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert seen[:4] == [None, None, type(fault).__name__, None]
