"""How a source of events keeps time: when it was last heard, and what silence is usual. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence beyond what is usual."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a source was heard in the last 7 days, by when the log took its events.

    `longest_usual` is None where too little was heard to know what is usual.
    """

    last_received: datetime | None = None
    longest_usual: timedelta | None = None
    gaps: Sequence[Gap] = ()

    def is_silent(self, now: datetime) -> bool | None:
        """Tell whether it is silent for longer than is usual; None: what is usual is unknown."""
        if self.longest_usual is None or self.last_received is None:
            return None
        return now - self.last_received > self.longest_usual


UNHEARD = Rhythm()
"""The rhythm of a source of which nothing was heard."""
