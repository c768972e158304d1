"""The JSON of deliveries: the same over HTTP and from the commands."""

from collections.abc import Sequence

from typing_extensions import TypedDict

from services.invoicer.notifying.delivery.overview import MOST_LISTED, Listed
from shared.moments import format_moment


class DeliveryDocument(TypedDict):
    """A notice on its way to an endpoint: `waiting`, `delivered` or `dead`."""

    id: int
    notice: str
    type: str
    subject: str
    occurred_at: str | None
    endpoint: str
    state: str
    attempts: int
    next_attempt_at: str | None
    last_answer: str | None
    delivered_at: str | None


class DeliveriesDocument(TypedDict):
    """Deliveries, the newest first; where there may be more, those are before `more_before`."""

    deliveries: list[DeliveryDocument]
    more_before: int | None


class RetriedDocument(TypedDict):
    """How many deliveries are due again."""

    retried: int


def deliveries_document(found: Sequence[Listed]) -> DeliveriesDocument:
    """Describe deliveries; only what waits has a next attempt."""
    return {
        "deliveries": [
            {
                "id": one.id,
                "notice": one.notice_id,
                "type": one.type,
                "subject": one.subject,
                "occurred_at": format_moment(one.occurred_at),
                "endpoint": one.endpoint_id,
                "state": one.state,
                "attempts": one.attempts,
                "next_attempt_at": format_moment(one.next_attempt_at)
                if one.state == "waiting"
                else None,
                "last_answer": one.last_answer,
                "delivered_at": format_moment(one.delivered_at),
            }
            for one in found
        ],
        "more_before": found[-1].id if len(found) == MOST_LISTED else None,
    }
