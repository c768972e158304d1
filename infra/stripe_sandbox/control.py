"""The sandbox's own routes: its state, its clock, faults, and forgetting keys. I/O: HTTP, store.

They take JSON. Like the rest they need no more than to be reached, and the sandbox listens on the
loopback address unless told otherwise.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.stripe_sandbox import invoices
from infra.stripe_sandbox.faults import Fault, Faults
from infra.stripe_sandbox.store import Store

Clock = Callable[[], int]
"""Gives the moment in Unix time."""

_LOOK_SECONDS = 60
_NO_WAY_BACK = (
    "time does not go back, as what was done by then stays done; for another beginning, stop the"
    " sandbox and remove its file"
)

Handler = Callable[[Request], Awaitable[Response]]


_UpTo9999 = Annotated[int, msgspec.Meta(le=253_402_300_799)]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class _Move(msgspec.Struct, forbid_unknown_fields=True):
    seconds: _UpTo9999 | None = None
    now: _UpTo9999 | _Instant | None = None

    def moment_from(self, now: int) -> int:
        """Give the moment that the clock is moved to; all in Unix time."""
        if self.seconds is not None and self.now is None:
            wanted, asked = now + self.seconds, f"`seconds` is {self.seconds}"
        elif self.now is not None and self.seconds is None:
            wanted = self.now if isinstance(self.now, int) else int(self.now.timestamp())
            asked = f"`now` is {wanted}, and the sandbox's clock is at {now}"
        else:
            raise msgspec.ValidationError(
                "give either `seconds`, to let so many pass, or `now`, the moment to move on to"
            )
        if wanted < now:
            raise msgspec.ValidationError(f"{asked}: {_NO_WAY_BACK}")
        return wanted


class _Limit(msgspec.Struct, forbid_unknown_fields=True):
    per_second: int


class Control:
    """What is set from outside; the clock's lead is kept in the file, faults are not."""

    def __init__(self, store: Store, clock: Clock, requests: Counter[str]) -> None:
        self.faults = Faults()
        self._store = store
        self._clock = clock
        self._requests = requests
        self._lead = store.control("clock_lead")

    def now(self) -> int:
        """Give the sandbox's moment: the clock's and the lead."""
        return self._clock() + self._lead

    async def watch_due_dates(self) -> None:
        """Note what falls due as real time passes, until cancelled."""
        while True:
            with self._store.transaction():
                invoices.overdue(self._store, self.now())
            await asyncio.sleep(_LOOK_SECONDS)

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route("/health/ready", self._ready),
            Route("/_sandbox/state", self._state),
            Route("/_sandbox/clock", _told(self._move_clock), methods=["POST"]),
            Route("/_sandbox/faults", _told(self._add_fault), methods=["POST"]),
            Route("/_sandbox/faults", self._drop_faults, methods=["DELETE"]),
            Route("/_sandbox/limit", _told(self._limit), methods=["POST"]),
            Route("/_sandbox/forget_keys", self._forget_keys, methods=["POST"]),
        ]

    async def _ready(self, _request: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def _state(self, _request: Request) -> Response:
        """Count what is kept, and the requests since this process began."""
        return JSONResponse(
            {
                "now": self.now(),
                "objects": self._store.counts(),
                "requests": dict(self._requests),
                "faults": len(self.faults.waiting),
            }
        )

    async def _move_clock(self, request: Request) -> Response:
        """Let time pass: what is due falls due, and keys are forgotten after a day."""
        move = msgspec.json.decode(await request.body(), type=_Move)
        now = self.now()
        lead = self._lead + move.moment_from(now) - now
        with self._store.transaction():
            self._lead = lead
            self._store.set_control("clock_lead", self._lead)
            invoices.overdue(self._store, self.now())
        return JSONResponse({"now": self.now()})

    async def _add_fault(self, request: Request) -> Response:
        """Let the next calls that match go wrong."""
        self.faults.waiting.append(msgspec.json.decode(await request.body(), type=Fault))
        return JSONResponse({"faults": len(self.faults.waiting)})

    async def _drop_faults(self, _request: Request) -> Response:
        """Let nothing go wrong any more."""
        self.faults.waiting.clear()
        self.faults.per_second = 0
        return JSONResponse({"faults": 0})

    async def _limit(self, request: Request) -> Response:
        """Refuse calls beyond so many a second with 429; 0 ends it."""
        limit = msgspec.json.decode(await request.body(), type=_Limit)
        self.faults.per_second = limit.per_second
        return JSONResponse({"per_second": limit.per_second})

    async def _forget_keys(self, _request: Request) -> Response:
        """Forget all idempotency keys, as Stripe may after a day."""
        with self._store.transaction():
            self._store.answers.forget_all()
        return JSONResponse({"forgotten": True})


def _told(handler: Handler) -> Handler:
    """Answer what cannot be read with 400 and why."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except msgspec.MsgspecError as error:
            return JSONResponse({"error": str(error)}, 400)

    return answered
