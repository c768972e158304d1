"""Tries a call to Stripe again while that makes sense. I/O: it sleeps."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from services.invoicer.stripe_objects import StripeFault

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is tried, and how long is waited between; delays are in seconds."""

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 8.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call until it works; raise the last `StripeFault` when it is not worth another try soon.

        The delay doubles and is spread at random over its upper half, so that workers that
        failed together do not come back together.
        """
        delay = self.first_delay
        for left in reversed(range(self.attempts)):
            try:
                return await attempt()
            except StripeFault as fault:
                if fault.retry != "soon" or not left:
                    raise
                spread = delay * random.uniform(0.5, 1.0)  # noqa: S311 - no secret is made
                await self.sleep(max(spread, fault.retry_after or 0.0))
            delay = min(self.longest_delay, delay * 2)
        raise AssertionError("a call is tried at least once")
