"""The JSON of endpoints and deliveries: the same over HTTP and from the commands."""

from collections.abc import Sequence

from typing_extensions import TypedDict

from services.invoicer.notifying.answers import Answer
from services.invoicer.notifying.deliveries import MOST_LISTED, Listed
from shared.moments import format_moment
from shared.tables.notices import NoticeEndpoint


class EndpointDocument(TypedDict):
    """A receiver of notices; `types` empty means all. Its secret is not shown again."""

    id: str
    url: str
    types: list[str]
    description: str
    state: str
    disabled_because: str | None
    former_secret_until: str | None
    created_at: str | None


class EndpointsDocument(TypedDict):
    """The endpoints, the oldest first."""

    endpoints: list[EndpointDocument]


class NewSecretDocument(EndpointDocument):
    """An endpoint with its new secret, shown now and never again; null for a mailbox."""

    secret: str | None


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


class TestedDocument(TypedDict):
    """What came of a message that was sent to see whether one arrives."""

    endpoint: str
    delivered: bool
    answer: str


class RetriedDocument(TypedDict):
    """How many deliveries are due again."""

    retried: int


def endpoint_document(one: NoticeEndpoint) -> EndpointDocument:
    """Describe an endpoint, without its secret."""
    return {
        "id": one.id,
        "url": one.url,
        "types": list(one.types),
        "description": one.description,
        "state": one.state,
        "disabled_because": one.disabled_because,
        "former_secret_until": format_moment(one.former_until),
        "created_at": format_moment(one.created_at),
    }


def new_secret_document(one: NoticeEndpoint) -> NewSecretDocument:
    """Describe an endpoint to who has just made its secret."""
    return {**endpoint_document(one), "secret": one.secret}


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


def tested_document(endpoint_id: str, answer: Answer) -> TestedDocument:
    """Describe what came of a test."""
    return {"endpoint": endpoint_id, "delivered": answer.taken, "answer": answer.words}
