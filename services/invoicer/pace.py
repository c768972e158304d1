"""How fast this process may call Stripe: buckets of tokens, shared by all its workers. I/O: sleeps.

Stripe documents its limits at https://docs.stripe.com/rate-limits: 100 calls a second with a
live key and 25 with a test key, and 25 for each endpoint.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from shared.settings import Settings

LIVE_CALLS_PER_SECOND = 100.0
TEST_CALLS_PER_SECOND = 25.0
ENDPOINT_CALLS_PER_SECOND = 25.0

_BURST = 0.05
"""Of a second's calls: so much a bucket holds, and the rest of the limit is what flows in, so
that no second ever sees more calls than the limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most calls a second, in all and to one endpoint; None is no limit."""

    overall: float | None = None
    endpoint: float | None = None


def limits_for(settings: Settings) -> Limits:
    """Give the limits that are set, else Stripe's own for the key; the sandbox has none."""
    if settings.stripe_api_base:
        overall, endpoint = None, None
    else:
        live = "_live_" in settings.stripe_api_key.get_secret_value()
        overall = LIVE_CALLS_PER_SECOND if live else TEST_CALLS_PER_SECOND
        endpoint = ENDPOINT_CALLS_PER_SECOND
    return Limits(
        settings.stripe_calls_per_second or overall,
        settings.stripe_endpoint_calls_per_second or endpoint,
    )


class Bucket:
    """Tokens for one limit; times are in seconds by a clock that never goes back."""

    def __init__(self, limit: float, now: float) -> None:
        self._size = max(1.0, limit * _BURST)
        self._rate = max(limit - self._size, limit / 2)
        self._level = self._size
        self._filled_at = now

    def take(self, now: float) -> float:
        """Take a token, and give the seconds after which it is there.

        What is not there yet is owed: whoever asks next waits behind, so that nobody is overtaken.
        """
        filled = self._level + (now - self._filled_at) * self._rate
        self._level = min(self._size, filled) - 1
        self._filled_at = now
        return max(0.0, -self._level / self._rate)


@dataclass
class Pace:
    """Holds calls back until their endpoint's turn, and then that of all calls, has come."""

    limits: Limits
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic
    _endpoints: dict[str, Bucket] = field(default_factory=dict)
    _overall: Bucket | None = None

    async def wait(self, method: str, path: str) -> None:
        """Wait until a call may be made."""
        if self.limits.endpoint is not None:
            name = endpoint(method, path)
            if name not in self._endpoints:
                self._endpoints[name] = Bucket(self.limits.endpoint, self.now())
            await self._take(self._endpoints[name])
        if self.limits.overall is not None:
            if self._overall is None:
                self._overall = Bucket(self.limits.overall, self.now())
            await self._take(self._overall)

    async def _take(self, bucket: Bucket) -> None:
        seconds = bucket.take(self.now())
        if seconds:
            await self.sleep(seconds)


def endpoint(method: str, path: str) -> str:
    """Name an endpoint: ``POST /v1/invoices/{id}/finalize``. Every second part is an id."""
    version, *parts = path.strip("/").split("/")
    named = ["{id}" if place % 2 else part for place, part in enumerate(parts)]
    return f"{method.upper()} /{'/'.join([version, *named])}"
