"""Which days of a month a contract covers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.money import prorate
from shared.periods import Period


@dataclass(frozen=True, slots=True)
class Coverage:
    """Days of a month (1 to 31) that belong to a contract, of how many that the month has."""

    days: range
    days_in_month: int

    @classmethod
    def of(cls, period: Period, starts_at: datetime, ends_at: datetime | None) -> Coverage:
        """Give the days of a month that a half-open range of time covers."""
        return cls(period.days_covered(starts_at, ends_at), period.days)

    @classmethod
    def whole(cls, period: Period) -> Coverage:
        """Give all days of a month."""
        return cls(range(1, period.days + 1), period.days)

    @property
    def label(self) -> str:
        """Names the days: ``whole month``, ``days 16 to 31 of 31``."""
        if len(self.days) == self.days_in_month:
            return "whole month"
        return f"days {self.days.start} to {self.days.stop - 1} of {self.days_in_month}"

    def prorate(self, amount: Decimal) -> Decimal:
        """Give the covered days' share of a month's amount, kept to 12 decimal places."""
        return prorate(amount, len(self.days), self.days_in_month)
