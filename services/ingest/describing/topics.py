"""The usage topic in AsyncAPI's words: what may be written to it, and what becomes of it. Pure.

https://www.asyncapi.com/docs/reference/specification/v3.0.0, with its Kafka bindings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.ingest.describing.event_types import EventType, data_schema, event_schema
from shared.events import STRUCTURED
from shared.executions import EXECUTION_FINISHED
from shared.trace_context import TRACEPARENT, TRACESTATE

_BINDING = "0.5.0"
_KEY = {
    "type": "string",
    "description": "The customer, as in `subject`, so that a customer's events stay in order",
}
_TRACE_HEADERS = {
    name: {"type": "string", "description": "W3C Trace Context; optional, ignored where invalid"}
    for name in (TRACEPARENT, TRACESTATE)
}
_EXECUTION = EventType(EXECUTION_FINISHED)


@dataclass(frozen=True, slots=True)
class Topic:
    """Where the topic is, and how it is made."""

    name: str
    partitions: int
    replicas: int
    servers: Sequence[str]
    secured: bool


def topics_document(topic: Topic) -> dict[str, Any]:
    """Give the AsyncAPI 3 document of the usage topic."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tallybook's usage topic",
            "version": "1",
            "description": "Ingest writes what it has accepted here. Whoever has access to Kafka"
            " may write CloudEvents 1.0 here too: they are read by the same rules, and what is no"
            " valid event becomes a dead letter with its reason.",
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {
            f"kafka{number}": {
                "host": host,
                "protocol": "kafka-secure" if topic.secured else "kafka",
            }
            for number, host in enumerate(topic.servers, 1)
        },
        "channels": {
            "usage": {
                "address": topic.name,
                "title": "Usage events",
                "description": "Every record is one event; source and id name it, and however"
                " often it is written it counts once.",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in _messages()
                },
                "bindings": {
                    "kafka": {
                        "topic": topic.name,
                        "partitions": topic.partitions,
                        "replicas": topic.replicas,
                        "bindingVersion": _BINDING,
                    }
                },
            }
        },
        "operations": {
            "rate": {
                "action": "receive",
                "channel": {"$ref": "#/channels/usage"},
                "title": "Rate usage",
                "description": "The rater reads each record, at least once, and counts it once.",
                "messages": [{"$ref": f"#/channels/usage/messages/{name}"} for name in _messages()],
            }
        },
        "components": {"messages": _messages()},
    }


def _messages() -> dict[str, Any]:
    return {
        "structured": {
            "name": "structured",
            "title": "An event in structured mode",
            "summary": "The value is the whole event; a record without headers is read so too",
            "contentType": "application/cloudevents+json",
            "headers": {
                "type": "object",
                "properties": {"content-type": {"const": STRUCTURED.decode()}, **_TRACE_HEADERS},
            },
            "payload": _schema_of(event_schema(_EXECUTION)),
            "bindings": {"kafka": {"key": _KEY, "bindingVersion": _BINDING}},
        },
        "binary": {
            "name": "binary",
            "title": "An event in binary mode",
            "summary": "The attributes are headers, the value is the data",
            "contentType": "application/json",
            "headers": _headers(),
            "payload": _schema_of(data_schema(_EXECUTION)),
            "bindings": {"kafka": {"key": _KEY, "bindingVersion": _BINDING}},
        },
    }


def _headers() -> dict[str, Any]:
    attributes = event_schema(_EXECUTION)["properties"]
    names = [name for name in attributes if name not in ("data", "datacontenttype")]
    required = [name for name in event_schema(_EXECUTION)["required"] if name != "data"]
    return {
        "type": "object",
        "properties": {f"ce_{name}": attributes[name] for name in names} | _TRACE_HEADERS,
        "required": [f"ce_{name}" for name in required],
        "description": "Other headers that begin with ce_ are extensions; content-type is the"
        " data's, JSON in any case",
    }


def _schema_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Embed a schema in AsyncAPI, whose references lead into the document."""
    return {
        "schemaFormat": "application/schema+json;version=2020-12",
        "schema": {**schema, "$defs": event_schema(_EXECUTION)["$defs"]},
    }


def messages_of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give the messages of a document, for its page."""
    yield from document["components"]["messages"].values()
