"""Which days of its month a recurring fee covers, read off its band. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.periods import Period

_SOME = re.compile(r"days ([0-9]+) to ([0-9]+) of ([0-9]+)")
_WHOLE = "whole month"


@dataclass(frozen=True, slots=True)
class FeeDays:
    """The first and the last day of a month (1 to 31) that a fee covers."""

    first: int
    last: int
    days_in_month: int

    def __str__(self) -> str:
        return f"{self.last - self.first + 1} of {self.days_in_month} days"

    def moments(self, period: Period) -> tuple[datetime, datetime]:
        """Give the first instant covered, and the first one after it."""
        day = timedelta(days=1)
        return period.start + (self.first - 1) * day, period.start + self.last * day


def fee_days(band: str, usage_period: str) -> FeeDays | None:
    """Read the days that a fee's band names; None for a band of another kind."""
    if band == _WHOLE:
        days = Period.parse(usage_period).days
        return FeeDays(1, days, days)
    found = _SOME.fullmatch(band)
    return None if found is None else FeeDays(*(int(number) for number in found.groups()))
