"""Moments as people and programs write them: RFC 3339, always with an offset. Pure."""

from datetime import UTC, datetime

from shared.errors import InvalidInputError


class InvalidMomentError(InvalidInputError, ValueError):
    """A text that names no moment."""

    code = "invalid_time"
    exit_status = 2

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f"{text!r} is no moment; write a date such as 2026-10-16, or a time with its offset"
            " such as 2026-10-16T08:30:00Z"
        )


def parse_moment(text: str) -> datetime:
    """Read a moment, in UTC; a bare date is its first instant in UTC.

    Raises `InvalidMomentError`, also for a time without an offset, which could mean several.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMomentError(text) from None
    if "T" in text.upper() or " " in text or ":" in text:
        raise InvalidMomentError(text)
    return moment.replace(tzinfo=UTC)


def format_moment(moment: datetime | None) -> str | None:
    """Write a moment in UTC, ``2026-10-16T08:30:00Z``; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
