"""Work that a service repeats for as long as it runs, whatever goes wrong in between."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.database import TRANSIENT

log = structlog.get_logger("tallybook.duty")


class Duty:
    """Work that is done again and again; a failure is logged, and the work tried again.

    `failing` names the last failure until the work has gone well again, for the service's
    readiness to tell.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[object]], *, seconds: float) -> None:
        self.name = name
        self.failing: str | None = None
        self._work = work
        self._seconds = seconds

    async def run(self) -> None:
        """Do the work every so many seconds, until cancelled."""
        while True:
            try:
                await self._work()
            except TRANSIENT as error:
                self.failing = type(error).__name__
                log.warning("waiting for a server", duty=self.name, error=self.failing)
            except Exception as error:
                self.failing = type(error).__name__
                log.exception("a duty failed; it is tried again", duty=self.name)
            else:
                self.failing = None
            await asyncio.sleep(self._seconds)
