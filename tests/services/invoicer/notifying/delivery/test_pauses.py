"""How long is waited after an attempt that failed."""

import pytest

from services.invoicer.notifying.delivery.pauses import DELAYS, MOST_ATTEMPTS, next_delay


def test_delays_grow_over_days_and_then_end() -> None:
    delays = [next_delay(attempt, None, 0) for attempt in range(1, MOST_ATTEMPTS + 1)]
    assert delays == [*DELAYS, None]
    assert 3 * 86_400 < sum(DELAYS) < 4 * 86_400
    assert list(DELAYS) == sorted(DELAYS)


def test_those_that_failed_together_are_spread() -> None:
    assert next_delay(3, None, 0.5) == pytest.approx(DELAYS[2] * 1.1)
    assert next_delay(3, None, 1) == pytest.approx(DELAYS[2] * 1.2)


def test_asking_for_time_makes_it_longer_up_to_a_day_and_never_shorter() -> None:
    assert next_delay(1, 60, 0) == 60
    assert next_delay(2, 60, 0) == DELAYS[1]
    assert next_delay(1, 10**9, 0) == 86_400
    assert next_delay(MOST_ATTEMPTS, 60, 0) is None
