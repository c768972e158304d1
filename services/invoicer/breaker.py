"""Stops a run when Stripe is down, or nothing of ours can get through to it. Pure.

It lasts for one sending of a run: who sends the run again begins with a closed breaker.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from services.invoicer.stripe_objects import StripeFault
from shared.errors import UnavailableError

T = TypeVar("T")


class RunStoppedError(UnavailableError):
    """Sending was stopped, as the next customer would fare no better; every invoice stays
    where it is, and goes on from there when its run is sent again.
    """

    code = "run_stopped"


@dataclass(slots=True)
class Breaker:
    """Counts the failures in a row, of whatever customer, that say that Stripe is down."""

    most_failures: int = 20
    """More than one call's attempts, so that one customer's bad luck is not taken for all's."""
    reason: str | None = None
    """Why no more calls are made; None while they are."""
    _failures: int = 0

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt; raise `RunStoppedError` in place of it once the breaker is open."""
        self._refuse_if_open()
        try:
            answer = await attempt()
        except StripeFault as fault:
            self._count(fault)
            self._refuse_if_open(fault)
            raise
        self._failures = 0
        return answer

    def _count(self, fault: StripeFault) -> None:
        if self.reason is not None:
            return
        if fault.reach == "account":
            self.reason = f"nothing more was sent. {fault}"
        elif fault.reach == "call":
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= self.most_failures:
                self.reason = f"{self._failures} calls in a row failed, of any customer. {fault}"

    def _refuse_if_open(self, cause: StripeFault | None = None) -> None:
        if self.reason is not None:
            raise RunStoppedError(self.reason) from cause
