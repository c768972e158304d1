"""Serves the documents of the topic and of the event types. I/O: reads the meters."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from services.ingest.describing.event_types import EventType, event_schema, event_types
from services.ingest.describing.topics import Topic, messages_of, topics_document
from services.ingest.whereabouts.routes import EventReader, Session
from shared.errors import NotFoundError
from shared.kafka_access import kafka_servers
from shared.pages import page_template
from shared.settings import Settings

router = APIRouter(tags=["documents"])

_MEDIA_TYPE = "application/schema+json"


class EventTypeEntry(TypedDict):
    """An event type, which meters count it, and where its schema is."""

    type: str
    meters: list[str]
    schema: str


class EventTypesDocument(TypedDict):
    """The event types that are metered."""

    event_types: list[EventTypeEntry]


@router.get("/asyncapi.json")
async def show_topics(request: Request) -> dict[str, Any]:
    """Give the AsyncAPI 3 document of the usage topic."""
    return _topics_document(request)


@router.get("/docs/topics", include_in_schema=False)
async def show_topics_page(request: Request) -> HTMLResponse:
    """Show the AsyncAPI document as a page that loads nothing from elsewhere."""
    document = _topics_document(request)
    page = page_template("services.ingest.describing", "topics.html")
    return HTMLResponse(page.render(**document, messages=list(messages_of(document))))


@router.get("/v1/schemas")
async def list_schemas(_key: EventReader, session: Session) -> EventTypesDocument:
    """List the event types that are metered, each with the place of its JSON Schema."""
    return {
        "event_types": [
            {"type": one.name, "meters": list(one.meters), "schema": f"/v1/schemas/{one.name}"}
            for one in await _read_event_types(session)
        ]
    }


@router.get("/v1/schemas/{event_type}")
async def show_schema(_key: EventReader, session: Session, event_type: str) -> JSONResponse:
    """Give the JSON Schema (2020-12) of an event of a type, in structured form."""
    for one in await _read_event_types(session):
        if one.name == event_type:
            return JSONResponse(event_schema(one), media_type=_MEDIA_TYPE)
    raise NotFoundError(f"no meter counts events of type {event_type!r}; see: GET /v1/schemas")


def _topics_document(request: Request) -> dict[str, Any]:
    settings: Settings = request.app.state.settings
    topic = Topic(
        settings.usage_topic,
        settings.usage_partitions,
        settings.usage_replication,
        kafka_servers(settings),
        secured=settings.kafka_security_protocol != "PLAINTEXT",
    )
    return topics_document(topic)


async def _read_event_types(session: AsyncSession) -> list[EventType]:
    rows = await session.execute(text("SELECT code, definition::text FROM meters"))
    return event_types({code: msgspec.json.decode(definition) for code, definition in rows})
