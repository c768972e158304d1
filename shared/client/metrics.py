"""What became of a client's events, as plain counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_COUNTED = ("sent", "accepted", "duplicate", "refused", "requests", "retries", "damaged")


@dataclass(slots=True)
class Metrics:
    """Counts since the client was made.

    `queued` and `queued_bytes` wait now; `sent` has an answer; `rejected` is by code;
    `refused` had no verdict, as its request was refused; `spilled_bytes` lie on disk now;
    `damaged` lines on disk could not be read. `last_error` holds no payload and no key.
    """

    queued: int = 0
    queued_bytes: int = 0
    spilled_bytes: int = 0
    sent: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    requests: int = 0
    retries: int = 0
    damaged: int = 0
    last_error: str | None = None


class _Collector:
    def __init__(self, read: Callable[[], Metrics]) -> None:
        self._read = read

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        now = self._read()
        for name in ("queued", "queued_bytes", "spilled_bytes"):
            yield GaugeMetricFamily(f"tallybook_client_{name}", f"{name} now", getattr(now, name))
        for name in _COUNTED:
            yield CounterMetricFamily(f"tallybook_client_{name}", name, getattr(now, name))
        rejected = CounterMetricFamily("tallybook_client_rejected", "by code", labels=["code"])
        for code, count in now.rejected.items():
            rejected.add_metric([code], count)
        yield rejected


def prometheus_collector(read: Callable[[], Metrics]) -> Any:
    """Make a collector of a client's metrics for a registry; needs prometheus_client.

    ``REGISTRY.register(prometheus_collector(client.metrics))``
    """
    import prometheus_client  # noqa: F401  # fails here rather than at the first scrape

    return _Collector(read)
