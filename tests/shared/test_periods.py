"""Periods are UTC months, half-open; their days are shared out whole among contracts."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.periods import InvalidPeriodError, Period

PERIODS = st.builds(Period, st.integers(1, 9998), st.integers(1, 12))
MONTHS_OF_EVERY_LENGTH = st.sampled_from(
    [Period(2026, 2), Period(2028, 2), Period(2026, 4), Period(2026, 10), Period(2026, 12)]
)
INSTANT = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "", "2026", "2026-1", "2026-00", "2026-13", "26-10", "2026/10", " 2026-10", "2026-10 ",
        "2026-10\n", "2026-10-01", "0000-01", "9999-12", "-026-10", "+2026-10",
        "２０２６-10", "٢٠٢٦-10", "2026-१०",
    ],
)  # fmt: skip
def test_what_names_no_month_is_refused(text: str) -> None:
    with pytest.raises(InvalidPeriodError) as caught:
        Period.parse(text)
    assert caught.value.text == text


@given(PERIODS)
def test_a_period_is_read_as_it_is_written(period: Period) -> None:
    assert Period.parse(str(period)) == period


@given(PERIODS)
def test_periods_follow_each_other_without_gap(period: Period) -> None:
    assert period.next().previous() == period
    assert period < period.next()
    assert str(period) < str(period.next())
    assert period.end == period.next().start
    assert period.end - period.start == timedelta(days=period.days)


@given(PERIODS)
def test_a_period_holds_its_first_instant_and_not_its_end(period: Period) -> None:
    assert Period.of(period.start) == period
    assert Period.of(period.end - INSTANT) == period
    assert Period.of(period.end) == period.next()


def test_a_moment_lies_in_the_month_that_it_has_in_utc() -> None:
    evening_in_new_york = datetime(2026, 9, 30, 21, tzinfo=timezone(timedelta(hours=-4)))
    assert Period.of(evening_in_new_york) == Period(2026, 10)


@pytest.mark.parametrize(
    ("period", "days"),
    [("2026-02", 28), ("2028-02", 29), ("2100-02", 28), ("2026-04", 30), ("2026-10", 31)],
)
def test_a_month_has_its_own_number_of_days(period: str, days: int) -> None:
    assert Period.parse(period).days == days


@given(MONTHS_OF_EVERY_LENGTH, st.data())
def test_consecutive_ranges_share_out_the_days_whole(period: Period, data: st.DataObject) -> None:
    around = st.datetimes(
        period.start.replace(tzinfo=None) - timedelta(days=40),
        period.end.replace(tzinfo=None) + timedelta(days=40),
    )
    midnights = around.map(lambda moment: moment.replace(hour=0, minute=0, second=0, microsecond=0))
    just_before = midnights.map(lambda moment: moment - INSTANT)
    switches = data.draw(st.lists(around | midnights | just_before, max_size=8))
    first = period.start - timedelta(days=100)
    bounds = [first, *sorted(moment.replace(tzinfo=UTC) for moment in switches)]
    ranges = list(zip(bounds, [*bounds[1:], None], strict=True))

    shares = [list(period.days_covered(start, end)) for start, end in ranges]

    for day in range(1, period.days + 1):
        last_instant = period.start + timedelta(days=day) - INSTANT
        for share, (start, end) in zip(shares, ranges, strict=True):
            in_force = start <= last_instant and (end is None or last_instant < end)
            assert (day in share) == in_force
    assert sorted(day for share in shares for day in share) == list(range(1, period.days + 1))


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2026-10-01T00:00:00", None, (1, 31)),
        ("2026-10-01T00:00:00", "2026-11-01T00:00:00", (1, 31)),
        ("2026-01-01T00:00:00", "2027-01-01T00:00:00", (1, 31)),
        ("2026-10-16T00:00:00", None, (16, 31)),
        ("2026-10-16T13:00:00", None, (16, 31)),
        ("2026-10-16T23:59:59.999999", None, (16, 31)),
        ("2026-10-01T00:00:00", "2026-10-16T13:00:00", (1, 15)),
        ("2026-10-01T00:00:00", "2026-10-02T00:00:00", (1, 1)),
        ("2026-10-31T23:59:59.999999", None, (31, 31)),
    ],
)
def test_a_day_belongs_to_what_is_in_force_at_its_last_instant(
    start: str, end: str | None, days: tuple[int, int]
) -> None:
    covered = Period(2026, 10).days_covered(_utc(start), None if end is None else _utc(end))
    assert (covered[0], covered[-1]) == days


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-01T00:00:00", None),
        ("2026-01-01T00:00:00", "2026-10-01T00:00:00"),
        ("2026-01-01T00:00:00", "2026-10-01T23:59:59.999999"),
        ("2026-10-16T08:00:00", "2026-10-16T20:00:00"),
        ("2026-10-16T08:00:00", "2026-10-16T08:00:00"),
    ],
)
def test_a_range_without_the_last_instant_of_a_day_has_none(start: str, end: str | None) -> None:
    assert not Period(2026, 10).days_covered(_utc(start), None if end is None else _utc(end))


def test_days_are_counted_in_utc() -> None:
    midnight_in_tokyo = datetime(2026, 10, 16, tzinfo=timezone(timedelta(hours=9)))
    assert Period(2026, 10).days_covered(midnight_in_tokyo, None) == range(15, 32)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
