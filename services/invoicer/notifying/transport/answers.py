"""What comes of an attempt to deliver. Pure."""

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt, in words for a person; nothing of a receiver's body is in it.

    `gone`: the receiver wants no more messages, ever. `retry_after` is how many seconds it
    asked to be left alone.
    """

    words: str
    taken: bool = False
    gone: bool = False
    retry_after: float | None = None


def read_answer(status: int, retry_after: str | None, now: datetime) -> Answer:
    """Tell what a receiver's HTTP status means: 2xx that it has the message, and nothing else."""
    words = f"HTTP {status}"
    if 200 <= status < 300:
        return Answer(words, taken=True)
    if 300 <= status < 400:
        return Answer(f"{words}: redirects are not followed; add the address that it points to")
    if status == 410:
        return Answer(f"{words}: the receiver wants no more messages", gone=True)
    return Answer(words, retry_after=_seconds(retry_after, now))


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Read the header Retry-After: seconds, or a moment."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        moment = parsedate_to_datetime(retry_after)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a moment without its offset
        return None
