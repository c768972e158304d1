"""Spaces the calls to Stripe, so that its limits are kept. I/O: it sleeps.

Stripe limits what an account does in a second, over all and for each endpoint:
https://docs.stripe.com/rate-limits. A token bucket that holds one token, kept as the time at
which the next call may be made: calls go out evenly, and none of the rate is lost.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from shared.settings import SANDBOX_STRIPE_KEY, Settings

LIVE_CALLS_PER_SECOND = 100
ENDPOINT_CALLS_PER_SECOND = 25
TEST_CALLS_PER_SECOND = 25
"""Stripe's documented limits, of an account in live mode, an endpoint, and an account in test."""


class Pace:
    """Turns for calls: `whole` and `each` are calls a second, of all and of one endpoint."""

    def __init__(
        self,
        whole: float | None = None,
        each: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._whole = whole
        self._each = each
        self._clock = clock
        self._sleep = sleep
        self._next: dict[str, float] = {}

    async def turn(self, endpoint: str) -> None:
        """Return once a call of an endpoint may be made."""
        now = self._clock()
        at = now
        for bucket, rate in (("", self._whole), (endpoint, self._each)):
            if rate is not None:
                mine = max(now, self._next.get(bucket, now))
                self._next[bucket] = mine + 1 / rate
                at = max(at, mine)
        if at > now:
            await self._sleep(at - now)


def pace_for(settings: Settings) -> Pace:
    """Give the pace that fits the key: Stripe's limits, or what the settings say instead."""
    key = settings.stripe_api_key.get_secret_value()
    whole: float | None = TEST_CALLS_PER_SECOND
    each: float | None = ENDPOINT_CALLS_PER_SECOND
    if key == SANDBOX_STRIPE_KEY:
        whole = each = None
    elif "_live_" in key:
        whole = LIVE_CALLS_PER_SECOND
    if settings.stripe_calls_per_second is not None:
        whole = settings.stripe_calls_per_second
    if settings.stripe_endpoint_calls_per_second is not None:
        each = settings.stripe_endpoint_calls_per_second
    return Pace(whole, each)
