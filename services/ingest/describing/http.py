"""`POST /v1/events` in OpenAPI's words: the route is raw ASGI, so FastAPI cannot see it. Pure."""

from typing import Any

import msgspec

from services.ingest.decompressing import ENCODINGS
from services.ingest.reading import BATCH, ONE
from services.ingest.verdicts import Answer
from shared.events import CloudEvent
from shared.executions import Execution
from shared.openapi_problems import problem_response

_REF = "#/components/schemas/{name}"
_PROBLEMS = {
    400: "The body is no array of events, cannot be decompressed, or did not come in full",
    401: "No API key, or one that is not known, revoked or expired",
    403: "The API key may not send events",
    413: "More bytes or events than a request may have",
    415: "A media type or content encoding that is not taken",
    429: "The API key has sent as many events as it may; RateLimit and Retry-After say the rest",
    503: "Kafka, or the table of keys, does not answer; send the whole request again",
}


def with_events_route(document: dict[str, Any]) -> dict[str, Any]:
    """Add the route, and the schemas that it names, to an OpenAPI document, and give that."""
    (event, _, answer), schemas = msgspec.json.schema_components(
        (CloudEvent, Execution, Answer), ref_template=_REF
    )
    schemas["CloudEvent"] |= {
        "description": "An event, structured. Attributes not named here are extensions. `data`"
        " may come as base64 in `data_base64` instead. `subject` is the customer.",
    }
    schemas["CloudEvent"]["properties"]["data"] = {
        "type": "object",
        "description": "Of an event of type ai.execution.finished: Execution.",
    }
    document["paths"]["/v1/events"] = {"post": _operation(event, answer)}
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    return document


def _operation(event: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    problems = {
        str(status): problem_response(description) for status, description in _PROBLEMS.items()
    }
    return {
        "tags": ["events"],
        "operationId": "send_events",
        "summary": "Send events",
        "description": "Takes CloudEvents 1.0 in structured, batch or binary mode; in binary mode"
        " the attributes are `ce-` headers and the body is the data. Takes a key with the scope"
        " events:write. Answers with a verdict for each event, in order, once Kafka holds those"
        " that are accepted.",
        "security": [{"apiKey": []}],
        "parameters": [
            {
                "name": "content-encoding",
                "in": "header",
                "required": False,
                "schema": {"enum": ["identity", *ENCODINGS]},
            },
            {
                "name": "traceparent",
                "in": "header",
                "required": False,
                "description": "W3C Trace Context, with `tracestate` beside it: where traces are"
                " on, the sender's goes on from here to the rater. One that is invalid is ignored.",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                BATCH: {"schema": {"type": "array", "items": event}},
                ONE: {"schema": event},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        "responses": {
            "200": {
                "description": "A verdict for each event",
                "content": {"application/json": {"schema": answer}},
            },
            **problems,
        },
    }
