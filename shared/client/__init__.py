"""A client for producers of events: hands them to ingest, and never loses or doubles one.

It stands by itself: it imports nothing of Tallybook, and httpx is its one dependency, so that
the folder can be copied into a producer's own code.
"""

from .answers import Refusal, Rejection
from .buffer import BufferFullError, SpillInUseError
from .events import InvalidEventError, execution_event, new_id
from .metrics import Metrics, prometheus_collector
from .options import ClientClosedError, Options
from .sending import Client
from .sending_async import AsyncClient

__all__ = [
    "AsyncClient",
    "BufferFullError",
    "Client",
    "ClientClosedError",
    "InvalidEventError",
    "Metrics",
    "Options",
    "Refusal",
    "Rejection",
    "SpillInUseError",
    "execution_event",
    "new_id",
    "prometheus_collector",
]
