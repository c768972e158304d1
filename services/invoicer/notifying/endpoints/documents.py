"""The JSON of endpoints: the same over HTTP and from the commands."""

from typing_extensions import TypedDict

from services.invoicer.notifying.transport.answers import Answer
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


class TestedDocument(TypedDict):
    """What came of a message that was sent to see whether one arrives."""

    endpoint: str
    delivered: bool
    answer: str


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


def tested_document(endpoint_id: str, answer: Answer) -> TestedDocument:
    """Describe what came of a test."""
    return {"endpoint": endpoint_id, "delivered": answer.taken, "answer": answer.words}
