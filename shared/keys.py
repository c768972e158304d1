"""What an API key allows. Pure."""

from dataclasses import dataclass
from datetime import datetime

SEND_EVENTS = "events:write"
READ_EVENTS = "events:read"
FINANCE = "finance"
SCOPES = (SEND_EVENTS, READ_EVENTS, FINANCE)


@dataclass(frozen=True, slots=True)
class Key:
    """What a key allows; no sources, customers or event types named means any."""

    id: str
    scopes: frozenset[str]
    sources: frozenset[str] = frozenset()
    customers: frozenset[str] = frozenset()
    event_types: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    events_per_second: int | None = None
    """Most events that it may send to one ingest process a second; None: what is set for all."""

    def in_force(self, now: datetime) -> bool:
        """Tell whether the key has not expired at `now`."""
        return self.expires_at is None or now < self.expires_at
