"""The one place that asks what time it is; whatever decides is given a clock or a moment."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present moment, with its offset."""


def present() -> datetime:
    """Give the present moment, in UTC."""
    return datetime.now(UTC)
