"""Does the rounds: makes deliveries of what is in the outbox, attempts what is due. I/O.

Each endpoint has a task of its own while something is due for it, so that one that is slow or
dead holds up no other. Any number of processes may do the rounds.
"""

import asyncio
import random

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.notifying.delivery import overview, taking
from services.invoicer.notifying.delivery.taking import Due
from services.invoicer.notifying.transport.answers import Answer
from services.invoicer.notifying.transport.courier import Courier
from shared.clock import Clock, present

AT_ONCE = 8
"""So many messages are on their way to one endpoint at once, from one process."""

_LAST_SECONDS = 5.0
"""How long what is on its way may still take when the process is to end."""

ATTEMPTS = Counter(
    "tallybook_invoicer_notice_attempts", "Attempts to deliver a notice", ["outcome"]
)
WAITING = Gauge("tallybook_invoicer_notices_waiting", "Deliveries that wait")
DEAD = Gauge("tallybook_invoicer_notices_dead", "Deliveries that were given up")
OLDEST = Gauge("tallybook_invoicer_notices_oldest_seconds", "Age of the oldest that waits")

_OUTCOMES = {"delivered": "delivered", "waiting": "failed", "dead": "dead"}

log = structlog.get_logger("tallybook.notices")


class Rounds:
    """The rounds of one process; use it as an async context manager, at whose end they are left."""

    def __init__(self, engine: AsyncEngine, courier: Courier, clock: Clock = present) -> None:
        self._engine = engine
        self._courier = courier
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._ending = False

    async def __aenter__(self) -> "Rounds":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nothing more, and give what is on its way a moment to be answered and noted."""
        self._ending = True
        tasks = list(self._under_way.values())
        if tasks:
            late = (await asyncio.wait(tasks, timeout=_LAST_SECONDS))[1]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def begin(self) -> None:
        """Begin what is due; what is under way already goes on."""
        now = self._clock()
        await taking.fan_out(self._engine, now)
        for endpoint in await taking.endpoints_due(self._engine, now):
            if endpoint not in self._under_way:
                self._under_way[endpoint] = asyncio.create_task(self._serve(endpoint))

    async def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values())

    async def measure(self) -> None:
        """Read how much waits, for the metrics."""
        figures = await overview.read_figures(self._engine)
        WAITING.set(figures.waiting)
        DEAD.set(figures.dead)
        age = 0.0 if figures.oldest is None else (self._clock() - figures.oldest).total_seconds()
        OLDEST.set(max(0.0, age))

    async def _serve(self, endpoint_id: str) -> None:
        """Attempt what is due for one endpoint until nothing is."""
        try:
            while not self._ending and (taken := await self._claim(endpoint_id)):
                ended = await asyncio.gather(
                    *(self._attempt(one) for one in taken), return_exceptions=True
                )
                for one in ended:
                    if one is not None:
                        raise one
        except Exception:
            # What was taken is due again when its lease is over.
            log.exception("an endpoint is not served; it is tried again", endpoint=endpoint_id)
        finally:
            del self._under_way[endpoint_id]

    async def _claim(self, endpoint_id: str) -> list[Due]:
        return await taking.claim(self._engine, endpoint_id, self._clock(), most=AT_ONCE)

    async def _attempt(self, due: Due) -> None:
        try:
            answer = await self._courier.take(due.notice, due.url, due.secrets, self._clock())
        except Exception:
            log.exception("a notice was not sent", delivery=due.id, endpoint=due.endpoint_id)
            answer = Answer("a fault of Tallybook's; its log says more")
        chance = random.random()  # noqa: S311 - no secret is made
        state = await taking.note(self._engine, due, answer, self._clock(), chance=chance)
        ATTEMPTS.labels(_OUTCOMES[state]).inc()
        if state != "delivered":
            log.warning(
                "a notice was not delivered",
                delivery=due.id,
                notice=due.notice.id,
                endpoint=due.endpoint_id,
                attempt=due.attempt,
                answer=answer.words,
                state=state,
            )
