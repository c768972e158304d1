"""How fast each API key may send: a bucket of tokens a key, refilled every second. Pure.

The headers say it as drafted for HTTP:
https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

import math
from dataclasses import dataclass

from shared.errors import TallybookError
from shared.keys import Key

_ROUNDING = 1e-3
"""Of an event; whoever waited as long as they were told must not fail by a float's last digit."""


class TooFastError(TallybookError):
    """A key has sent as many events as it may for now."""

    code = "rate_limited"
    status = 429

    def __init__(self, rate: int, wait: float) -> None:
        self.rate = rate
        self.seconds = max(1, math.ceil(wait))
        super().__init__(
            f"this API key may send {rate:,} events a second, and has; nothing of the request was"
            f" taken, send it again in {self.seconds} s"
        )

    def headers(self) -> dict[str, str]:
        """Give the headers that tell the producer when to come back."""
        return {"Retry-After": str(self.seconds), **_headers(self.rate, 0, self.seconds)}


@dataclass(slots=True)
class _Bucket:
    level: float
    filled_at: float


class Pacing:
    """The events that each key may still send to this process; `now` is in seconds."""

    def __init__(self, default_rate: int | None) -> None:
        self._default_rate = default_rate
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: Key, events: int, now: float) -> dict[str, str]:
        """Count a request's events against its key, and give the headers that say what is left.

        The bucket holds one second's events. A request with more is let in when the bucket is
        full and takes it below zero, so that over time no key gets more than its rate, however
        it cuts its requests. Raises `TooFastError`, and counts nothing, where too few are left.
        """
        rate = key.events_per_second or self._default_rate
        if rate is None:
            return {}
        bucket = self._buckets.get(key.id)
        if bucket is None:
            bucket = self._buckets[key.id] = _Bucket(rate, now)
        level = min(float(rate), bucket.level + (now - bucket.filled_at) * rate)
        needed = min(events, rate)
        if level < needed - _ROUNDING:
            raise TooFastError(rate, (needed - level) / rate)
        bucket.level, bucket.filled_at = level - events, now
        return _headers(rate, bucket.level, (rate - bucket.level) / rate)


def _headers(rate: int, left: float, full_in: float) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"events";q={rate};w=1',
        "RateLimit": f'"events";r={max(0, int(left))};t={math.ceil(full_in)}',
    }
