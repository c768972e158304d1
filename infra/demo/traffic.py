"""The demo's events as request bodies, made as they are sent. Pure.

Beside the executions that count there are some that must not be billed: failed ones, some
sent twice (within a request, and whole requests again, as after a lost answer), and a few
that are no valid events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.demo.scenarios import Scenario
from shared.periods import Period

SOURCE = "urn:bizbot:demo"

FAILED_EVERY = 200
"""One failed execution for so many that succeeded."""

TWICE_EVERY = 500
"""One event repeated at once, within its request, for so many."""

RESENT_EVERY = 100
"""One whole request sent again for so many."""

BAD_REQUESTS = 3
"""Requests with one more event, which is not valid and must be rejected."""

_BAD_EVENT = (
    b'{"specversion":"1.0","id":"bad","source":"urn:bizbot:demo","subject":"basic-1000",'
    b'"type":"ai.execution.finished","time":"not a time","data":{}}'
)


@dataclass(frozen=True, slots=True)
class Load:
    """A request body, and what its events must come to."""

    body: bytes
    events: int
    accepted: int
    duplicate: int
    rejected: int
    resent: bool = False


@dataclass(slots=True)
class _Stay:
    """One stay's events still to be made, spread over its time."""

    customer: str
    name: str
    starts: int
    seconds: int
    succeeded: int
    failed: int
    made: int = 0

    @property
    def total(self) -> int:
        return self.succeeded + self.failed

    def take(self, count: int) -> Iterator[bytes]:
        """Make the next events; the failed ones come at even distances."""
        total, failed = self.total, self.failed
        for index in range(self.made, min(total, self.made + count)):
            at = datetime.fromtimestamp(self.starts + index * self.seconds // total, UTC)
            is_failed = (index + 1) * failed // total > index * failed // total
            yield _event(self.customer, f"{self.name}-{index}", at, failed=is_failed)
        self.made = min(total, self.made + count)


def _event(customer: str, name: str, at: datetime, *, failed: bool) -> bytes:
    outcome = '"failed","failure_reason":"no credits left"' if failed else '"succeeded"'
    return (
        f'{{"specversion":"1.0","id":"{name}","source":"{SOURCE}","subject":"{customer}",'
        f'"type":"ai.execution.finished","time":"{at:%Y-%m-%dT%H:%M:%SZ}",'
        f'"data":{{"execution_id":"{name}","status":{outcome},"model":"claude-sonnet-4",'
        f'"input_tokens":1000,"output_tokens":500,"key_label":"main"}}}}'
    ).encode()


def failed_executions(executions: int) -> int:
    """Tell how many failed executions are sent beside so many that succeeded."""
    return max(1, executions // FAILED_EVERY)


def loads(scenarios: Sequence[Scenario], period: Period, batch: int) -> Iterator[Load]:
    """Give all requests, each with events of several customers, `batch` events each."""
    waiting = list(_stays(scenarios, period))
    number = 0
    while waiting:
        events: list[bytes] = []
        share = max(1, batch // len(waiting))
        while waiting and len(events) < batch:
            stay = waiting.pop(0)
            events.extend(stay.take(min(share, batch - len(events))))
            if stay.made < stay.total:
                waiting.append(stay)
        number += 1
        load = _load(events, bad=number <= BAD_REQUESTS)
        yield load
        if number % RESENT_EVERY == 1:
            yield Load(load.body, load.events, load.accepted, load.duplicate, load.rejected, True)


def _load(events: list[bytes], *, bad: bool) -> Load:
    repeated = events[::TWICE_EVERY]
    whole = [*events, *repeated, *([_BAD_EVENT] if bad else [])]
    body = b"[" + b",".join(whole) + b"]"
    return Load(body, len(whole), len(events), len(repeated), int(bad))


def _stays(scenarios: Sequence[Scenario], period: Period) -> Iterator[_Stay]:
    for scenario in scenarios:
        ends = [stay.starts_at for stay in scenario.stays[1:]] + [period.end]
        for position, (stay, end) in enumerate(zip(scenario.stays, ends, strict=True)):
            yield _Stay(
                scenario.customer_id,
                f"{scenario.customer_id}-{position}",
                int(stay.starts_at.timestamp()),
                int((end - stay.starts_at).total_seconds()),
                stay.executions,
                failed_executions(stay.executions),
            )
