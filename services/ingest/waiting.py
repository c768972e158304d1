"""The events that wait for Kafka's ack, key by key, so that no key takes all the room. Pure."""

from shared.errors import UnavailableError


class TooManyWaitingError(UnavailableError):
    """There is no room for a request's events; nothing of it was taken."""

    code = "log_unavailable"


class WaitingEvents:
    """Room for so many events; a key has at most as many of them as are free.

    So one key alone takes half of it, two a third each, n keys 1/(n + 1) each; there is always
    room for one more. Known as dynamic thresholds from the buffers of switches:
    https://doi.org/10.1109/90.664262
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_key: dict[str, int] = {}
        self.total = 0

    def enter(self, key_id: str, events: int) -> None:
        """Count a request's events in, or raise `TooManyWaitingError` and count nothing."""
        of_key = self._of_key.get(key_id, 0)
        if of_key + events > self._most - self.total - events:
            whose = "of this API key " if of_key else ""
            raise TooManyWaitingError(
                f"too many events {whose}wait for Kafka; send the request again"
            )
        self._of_key[key_id] = of_key + events
        self.total += events

    def leave(self, key_id: str, events: int) -> None:
        """Count events out that entered before."""
        self.total -= events
        left = self._of_key[key_id] - events
        if left:
            self._of_key[key_id] = left
        else:
            del self._of_key[key_id]
