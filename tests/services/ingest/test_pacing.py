"""No key sends more than its rate over time, and whoever waits as told is let in."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.pacing import Pacing, TooFastError
from shared.keys import SEND_EVENTS, Key


def key(name: str = "key_1", rate: int | None = None) -> Key:
    return Key(name, frozenset({SEND_EVENTS}), events_per_second=rate)


RATES = st.integers(1, 10_000)
REQUESTS = st.lists(st.tuples(st.integers(0, 30_000), st.floats(0, 20)), max_size=50)


@given(RATES, REQUESTS)
def test_over_time_a_key_gets_its_rate_and_one_second_ahead(
    rate: int, requests: Sequence[tuple[int, float]]
) -> None:
    """Before any request is let in, what was let in is at most what the time allows."""
    pacing, now, taken = Pacing(None), 0.0, 0
    for events, pause in requests:
        now += pause
        try:
            pacing.take(key(rate=rate), events, now)
        except TooFastError:
            continue
        allowed = rate * (now + 1)
        assert taken + min(events, rate) <= allowed + 1
        taken += events


@given(RATES, REQUESTS)
def test_whoever_waits_as_told_is_let_in(rate: int, requests: Sequence[tuple[int, float]]) -> None:
    pacing, now = Pacing(None), 1_000_000.0
    for events, pause in requests:
        now += pause / 10
        try:
            pacing.take(key(rate=rate), events, now)
        except TooFastError as error:
            now += error.seconds
            pacing.take(key(rate=rate), events, now)


@given(RATES, REQUESTS)
def test_a_refused_request_counts_for_nothing(
    rate: int, requests: Sequence[tuple[int, float]]
) -> None:
    once, often = Pacing(None), Pacing(None)
    now = 0.0
    for events, pause in requests:
        now += pause / 100
        outcomes = []
        for pacing, tries in ((once, 1), (often, 3)):
            for _ in range(tries):
                try:
                    outcomes.append((pacing is once, pacing.take(key(rate=rate), events, now)))
                    break
                except TooFastError as error:
                    outcomes.append((pacing is once, error.headers()))
        ours = {str(outcome) for first, outcome in outcomes if first}
        assert ours == {str(outcome) for first, outcome in outcomes if not first}


def test_without_a_rate_nothing_is_counted_and_nothing_said() -> None:
    pacing = Pacing(None)
    assert all(pacing.take(key(), 10_000, 0.0) == {} for _ in range(1000))


def test_a_key_s_own_rate_goes_before_that_of_all() -> None:
    pacing = Pacing(5)
    pacing.take(key("quick", 100), 100, 0.0)
    pacing.take(key("plain"), 5, 0.0)
    with pytest.raises(TooFastError, match="may send 5 events a second"):
        pacing.take(key("plain"), 1, 0.0)


def test_keys_do_not_share() -> None:
    pacing = Pacing(10)
    pacing.take(key("noisy"), 10_000, 0.0)
    pacing.take(key("calm"), 10, 0.0)


def test_the_headers_say_what_is_left_and_when_all_is_back() -> None:
    pacing = Pacing(1000)
    assert pacing.take(key(), 600, 0.0) == {
        "RateLimit-Policy": '"events";q=1000;w=1',
        "RateLimit": '"events";r=400;t=1',
    }
    with pytest.raises(TooFastError) as refused:
        pacing.take(key(), 500, 0.0)
    assert refused.value.headers() == {
        "Retry-After": "1",
        "RateLimit-Policy": '"events";q=1000;w=1',
        "RateLimit": '"events";r=0;t=1',
    }


def test_a_large_request_is_made_up_for_afterwards() -> None:
    pacing = Pacing(10)
    pacing.take(key(), 1000, 0.0)
    with pytest.raises(TooFastError) as refused:
        pacing.take(key(), 10, 50.0)
    assert refused.value.seconds == 50
    assert re.search(r"again in 50 s$", str(refused.value))
    pacing.take(key(), 10, 100.0)
