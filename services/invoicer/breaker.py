"""Tells a fault of Stripe from that of a customer, so that a run stops rather than burns. Pure."""

MOST_FAILURES = 5
"""So many invoices that fail one after the other are no longer their own fault."""


class Breaker:
    """What came of the invoices of one run, one after the other."""

    def __init__(self) -> None:
        self._failures = 0

    def note(self, state: str, last_error: str | None) -> str | None:
        """Count an invoice that was tried, by what came of it; say why to stop, once one should."""
        if state != "failed_retryable":
            self._failures = 0
            return None
        self._failures += 1
        if self._failures < MOST_FAILURES:
            return None
        return f"{self._failures} invoices in a row failed, the last one: {last_error}"
