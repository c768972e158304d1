"""What an answer means."""

from datetime import UTC, datetime

import pytest

from services.invoicer.notifying.transport.answers import read_answer

NOW = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_says_that_it_is_taken(status: int) -> None:
    assert read_answer(status, None, NOW).taken


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 404, 410, 429, 500, 503, 599])
def test_nothing_else_does(status: int) -> None:
    answer = read_answer(status, None, NOW)
    assert not answer.taken
    assert answer.gone == (status == 410)
    assert str(status) in answer.words


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Sun, 01 Nov 2026 08:31:00 GMT", 60),
        ("Sun, 01 Nov 2026 08:29:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("", None),
        ("9" * 5_000, 999_999_999),
        (None, None),
    ],
)
def test_the_time_that_a_receiver_asks_for_is_read(header: str | None, seconds: int | None) -> None:
    assert read_answer(503, header, NOW).retry_after == seconds
