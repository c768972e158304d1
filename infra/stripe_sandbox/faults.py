"""Faults on demand: which of the next calls are to go wrong, and how. Pure."""

import fnmatch
from dataclasses import dataclass, field
from typing import Literal

import msgspec

Kind = Literal["lost", "error_before", "error_after", "rate_limited", "locked"]


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """What is to go wrong with the next `times` calls that match.

    `lost`: the effect happens, and the connection breaks; `error_before` and `error_after`: 500
    without the effect, and after it (and again for the same idempotency key); `rate_limited` and
    `locked`: 429 without the effect. Without a kind the call is only slow, by `delay` seconds.
    `path` may hold asterisks; the first `skip` calls that match are let through.
    """

    method: str = "*"
    path: str = "*"
    kind: Kind | None = None
    delay: float = 0.0
    times: int = 1
    skip: int = 0
    retry_after: int | None = None

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a call is meant."""
        return fnmatch.fnmatchcase(method, self.method) and fnmatch.fnmatchcase(path, self.path)


@dataclass(slots=True)
class Faults:
    """The faults asked for that have not all happened yet, and a limit of calls a second."""

    waiting: list[Fault] = field(default_factory=list)
    per_second: int = 0
    """Most calls a second; 0 is no limit."""
    _second: int = 0
    _calls: int = 0

    def next_for(self, method: str, path: str, second: int) -> Fault | None:
        """Give the fault of the call that comes now, within a second of a real clock."""
        if second != self._second:
            self._second, self._calls = second, 0
        self._calls += 1
        if 0 < self.per_second < self._calls:
            return Fault(kind="rate_limited")
        for fault in self.waiting:
            if not fault.matches(method, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            if fault.times <= 0:
                self.waiting.remove(fault)
            return fault
        return None
