"""When the next attempt to deliver is due, and which one is the last. Pure."""

DELAYS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds to wait after each attempt that failed, as Standard Webhooks proposes: three days."""

MOST_ATTEMPTS = len(DELAYS) + 1
_SPREAD = 0.2
_LONGEST_WAIT = 86_400.0


def next_delay(attempt: int, retry_after: float | None, chance: float) -> float | None:
    """Give the seconds until the next attempt; None if the `attempt`-th, from 1, was the last.

    `chance`, from 0 to 1, spreads those that failed together. A receiver that asks for more
    time gets it, up to a day.
    """
    if attempt >= MOST_ATTEMPTS:
        return None
    delay = DELAYS[attempt - 1] * (1 + _SPREAD * chance)
    return max(delay, min(retry_after or 0.0, _LONGEST_WAIT))
