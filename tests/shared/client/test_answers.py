"""What answers mean, and how long a client waits."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.client.answers import Again, Answered, Refused, back_off, judge, retry_after
from tests.shared.client.server import verdicts

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
EVENTS = [b'{"id":"1"}', b'{"id":"2"}']


def outcome(status: int, document: object = None, **headers: str) -> Answered | Again | Refused:
    return judge(status, headers, json.dumps(document).encode(), EVENTS, NOW)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 301, 404, 409, 204])
def test_what_may_get_better_is_sent_again(status: int) -> None:
    found = outcome(status)
    assert isinstance(found, Again)
    assert not found.of_key


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_may_be_put_in_force_so_nothing_is_given_up(status: int) -> None:
    found = outcome(status)
    assert isinstance(found, Again)
    assert found.of_key


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_cannot_get_better_is_refused_with_its_code(status: int) -> None:
    found = outcome(status, {"type": "urn:tallybook:problem:too_large", "detail": "big"})
    assert found == Refused(status, "too_large", "big")


def test_a_rejected_event_is_given_with_its_place() -> None:
    events = [{"id": "1", "source": "s"}, {"id": "2", "source": "s"}]
    found = outcome(200, verdicts(events, {"2": "too_old"}, ("1",))[2])
    assert isinstance(found, Answered)
    assert (found.accepted, found.duplicate) == (0, 1)
    (one,) = found.rejections
    assert (one.position, one.event, one.code, one.pointer) == (1, EVENTS[1], "too_old", "/data")


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"accepted": 1},
        {"accepted": 1, "duplicate": 0, "results": []},
        {"accepted": 1, "duplicate": 0, "results": [{"verdict": "accepted"}]},
        {"accepted": 5, "duplicate": 0, "results": [{"verdict": "accepted"}] * 2},
        {"accepted": "x", "duplicate": 0, "results": []},
    ],
)
def test_a_200_without_a_verdict_for_each_event_settles_none(document: object) -> None:
    assert isinstance(outcome(200, document), Again)


@given(st.binary(max_size=60), st.integers(200, 599))
def test_no_answer_breaks_it(body: bytes, status: int) -> None:
    judge(status, {"retry-after": body.decode("latin-1")}, body, EVENTS, NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("99999999", 3600),
        ("Thu, 01 Oct 2026 12:00:30 GMT", 30),
        ("Thu, 01 Oct 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.integers(0, 10_000), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 3600)))
def test_back_off_is_bounded_and_heeds_retry_after(
    attempt: int, chance: float, after: float | None
) -> None:
    wait = back_off(attempt, chance, after, first=0.1, most=30)
    assert (after or 0) <= wait <= min(30, 0.1 * 2 ** min(attempt, 20)) + (after or 0)
