"""Billing periods: calendar months in UTC, half-open. Pure."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.errors import InvalidInputError

_PATTERN = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class InvalidPeriodError(InvalidInputError, ValueError):
    """A text that names no month."""

    code = "invalid_period"
    exit_status = 2

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"{text!r} is not a period; write year and month, such as 2026-10")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """One calendar month in UTC, from its first instant to before the next month's first."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read ``YYYY-MM``, years 0001 to 9998; raise `InvalidPeriodError` for anything else."""
        match = _PATTERN.fullmatch(text)
        if match is None or match[1] in ("0000", "9999"):
            raise InvalidPeriodError(text)
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Period:
        """Give the period in which an aware `moment` lies."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def start(self) -> datetime:
        """The first instant, in UTC."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after the period, in UTC."""
        return self.next().start

    @property
    def days(self) -> int:
        """How many days the month has: 28 to 31."""
        return calendar.monthrange(self.year, self.month)[1]

    def next(self) -> Period:
        """Give the month after."""
        return Period(self.year + self.month // 12, self.month % 12 + 1)

    def previous(self) -> Period:
        """Give the month before."""
        return Period(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def days_covered(self, start: datetime, end: datetime | None) -> range:
        """Give the days of the month (1 to 31) that belong to a time range.

        A UTC day belongs to what is in force at the day's last instant, so that consecutive
        half-open ranges share out the days of a month whole, whatever the times of day.
        """
        first = self._day_index(start)
        last = self.days if end is None else self._day_index(end)
        return range(first + 1, max(first, last) + 1)

    def _day_index(self, moment: datetime) -> int:
        """Count the days of this month whose last instant lies before `moment`."""
        if moment <= self.start:
            return 0
        return min(self.days, (moment - self.start) // timedelta(days=1))
