"""A source of events: what arrived from it, and where it fell silent. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from shared.rhythms import UNHEARD, Rhythm

DUPLICATE = "duplicate"
"""The code under which repeats within one request are counted beside rejections."""


@dataclass(slots=True)
class Source:
    """What arrived from a source in the last 30 days, and its rhythm of the last 7.

    `first`, `last` and the counts go by the events' times, its rhythm by when the log took them.
    """

    name: str
    first: datetime | None = None
    last: datetime | None = None
    hour: int = 0
    day: int = 0
    month: int = 0
    conflicts: int = 0
    open_conflicts: int = 0
    dead_letters: dict[str, int] = field(default_factory=dict)
    not_taken: dict[str, int] = field(default_factory=dict)
    rhythm: Rhythm = UNHEARD

    @property
    def duplicates(self) -> int:
        """Events that stood more than once in one request."""
        return self.not_taken.get(DUPLICATE, 0)

    @property
    def rejected(self) -> dict[str, int]:
        """Events that ingest rejected, by code."""
        return {code: count for code, count in self.not_taken.items() if code != DUPLICATE}
