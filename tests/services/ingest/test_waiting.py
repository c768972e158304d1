"""Room for what waits for Kafka is bounded, and shared fairly by the keys."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.waiting import TooManyWaitingError, WaitingEvents

STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 60), st.booleans()))


@given(STEPS, st.integers(1, 200))
def test_it_is_bounded_and_counts_right(steps: list[tuple[str, int, bool]], most: int) -> None:
    waiting = WaitingEvents(most)
    entered: list[tuple[str, int]] = []
    for key, events, leaves in steps:
        with contextlib.suppress(TooManyWaitingError):
            waiting.enter(key, events)
            entered.append((key, events))
        assert waiting.total == sum(events for _, events in entered) <= most
        for one in {key for key, _ in entered}:
            assert sum(events for key, events in entered if key == one) <= most / 2
        if leaves and entered:
            waiting.leave(*entered.pop())


@given(st.integers(1, 6))
def test_keys_that_send_all_they_can_come_to_equal_shares(keys: int) -> None:
    most = 1_000 * (keys + 1)
    waiting = WaitingEvents(most)
    held = dict.fromkeys(range(keys), 0)
    for _ in range(most):
        for key in held:
            with contextlib.suppress(TooManyWaitingError):
                waiting.enter(str(key), 1)
                held[key] += 1
    assert all(abs(share - 1_000) <= keys for share in held.values())


def test_a_full_share_of_one_leaves_room_for_another() -> None:
    waiting = WaitingEvents(1_000)
    waiting.enter("noisy", 500)
    with pytest.raises(TooManyWaitingError, match="too many events of this API key wait"):
        waiting.enter("noisy", 1)
    waiting.enter("calm", 250)


def test_who_has_left_is_forgotten() -> None:
    waiting = WaitingEvents(10)
    waiting.enter("a", 5)
    with pytest.raises(TooManyWaitingError, match="too many events of this API key wait"):
        waiting.enter("a", 1)
    waiting.leave("a", 5)
    waiting.enter("a", 5)
    with pytest.raises(TooManyWaitingError, match="too many events wait"):
        waiting.enter("b", 3)
