"""Moments are read only where they mean one thing, and are written in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.moments import InvalidMomentError, format_moment, parse_moment

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2200-01-01"), timezones=OFFSETS
)


@given(MOMENTS)
def test_a_moment_is_read_as_it_is_written(moment: datetime) -> None:
    assert parse_moment(moment.isoformat()) == moment
    written = format_moment(moment)
    assert written is not None
    assert written.endswith("Z")
    assert parse_moment(written) == moment


def test_a_date_is_its_first_instant_in_utc() -> None:
    assert parse_moment("2026-10-16") == datetime(2026, 10, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-13-01",
        "2026-10-16T08:30:00",
        "2026-10-16 08:30",
        "2026-10-16t08",
        "16.10.",
    ],
)
def test_what_means_no_moment_or_several_is_refused(text: str) -> None:
    with pytest.raises(InvalidMomentError) as caught:
        parse_moment(text)
    assert caught.value.text == text


def test_no_moment_stays_none() -> None:
    assert format_moment(None) is None
