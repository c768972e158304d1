"""Deliveries that die at a given point, or meet a given fault at a given call to Stripe.

The points are those between any two effects: before and after each commit, and before and after
each call. A process that dies there is played by an exception that nothing catches.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import msgspec
import pytest
import stripe

from services.invoicer.calls import Calls
from tests.infra.stripe_sandbox.checked import CheckedStripeHTTP

Fault = Literal["lost", "500 before", "500 after", "409", "429"]
FAULTS: tuple[Fault, ...] = ("lost", "500 before", "500 after", "409", "429")
STATUS: Mapping[Fault, int] = {"500 before": 500, "500 after": 500, "409": 409, "429": 429}


class Crash(BaseException):
    """The process dies."""


@dataclass
class Way:
    """One delivery: where it dies, and which fault meets it at which of its calls."""

    crash_at: int | None = None
    fault: Fault | None = None
    at_call: int = 0
    points: list[str] = field(default_factory=list)
    calls: int = 0

    def pass_point(self, name: str) -> None:
        """Come to the next point; die there if it is the one."""
        self.points.append(name)
        if len(self.points) - 1 == self.crash_at:
            raise Crash

    def next_fault(self) -> Fault | None:
        """Give the fault that meets the call which is being made."""
        self.calls += 1
        return self.fault if self.calls - 1 == self.at_call else None


_WAY: ContextVar[Way | None] = ContextVar("_WAY", default=None)


@contextlib.asynccontextmanager
async def on_the_way(way: Way) -> AsyncIterator[None]:
    """Let all that happens within the context be this delivery; its crash ends here."""
    token = _WAY.set(way)
    try:
        with contextlib.suppress(Crash):
            yield
    finally:
        _WAY.reset(token)


def watch_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each commit of a delivery a point before and a point after it."""
    commit: Callable[[Calls], Awaitable[None]] = Calls.commit

    async def watched(calls: Calls) -> None:
        way = _WAY.get() or Way()
        way.pass_point("before a commit")
        await commit(calls)
        way.pass_point("after a commit")

    monkeypatch.setattr(Calls, "commit", watched)


class FaultyTransport(httpx.AsyncBaseTransport):
    """The way to a sandbox in this process. Stripe repeats a 500 for the key that met it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._cursed: set[str] = set()
        self.calls: list[str] = []

    def forget_keys(self) -> None:
        """Forget which keys met a 500."""
        self._cursed.clear()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        way = _WAY.get() or Way()
        name = f"{request.method} {request.url.path}"
        self.calls.append(name)
        way.pass_point(f"before {name}")
        answer = await self._answer(request, way.next_fault())
        way.pass_point(f"after {name}")
        return answer

    async def _answer(self, request: httpx.Request, fault: Fault | None) -> httpx.Response:
        key = request.headers.get("idempotency-key")
        if key in self._cursed:
            return _error(500)
        if fault in ("500 before", "500 after") and key:
            self._cursed.add(key)
        if fault in (None, "lost", "500 after"):
            answer = await self._inner.handle_async_request(request)
            await answer.aread()
        if fault is None:
            return answer
        if fault == "lost":
            raise httpx.ReadError("the answer is lost")
        return _error(STATUS[fault])


def _error(status: int) -> httpx.Response:
    body = {"error": {"type": "api_error", "message": "as the test wills"}}
    headers = {"content-type": "application/json", "retry-after": "0"}
    return httpx.Response(status, headers=headers, content=msgspec.json.encode(body))


class FaultyHTTP(CheckedStripeHTTP):
    """The real SDK's way out, with a lost answer told as the SDK's own client tells it."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            return await super().request_async(method, url, headers, post_data)
        except httpx.TransportError as error:
            broken: stripe.StripeError = stripe.APIConnectionError("it broke")  # type: ignore[no-untyped-call]
            raise broken from error
