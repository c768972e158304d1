"""Builds events as producers write them. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.executions import EXECUTION_FINISHED

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
"""When the tests' events are received, unless they say otherwise."""


def execution_data(**changes: Any) -> dict[str, Any]:
    """Give the data of a succeeded execution; a change to None takes the field out."""
    data = {
        "execution_id": "run-1",
        "status": "succeeded",
        "model": "claude-sonnet-4",
        "input_tokens": 1_000,
        "output_tokens": 500,
        "key_label": "main",
    }
    return _changed(data, changes)


def event_document(data: Any = None, **changes: Any) -> dict[str, Any]:
    """Give a whole execution event; a change to None takes the attribute out."""
    document = {
        "specversion": "1.0",
        "id": "event-1",
        "source": "agents",
        "type": EXECUTION_FINISHED,
        "subject": "customer-1",
        "time": "2026-10-16T08:30:00Z",
        "data": execution_data() if data is None else data,
    }
    return _changed(document, changes)


def event_bytes(data: Any = None, **changes: Any) -> bytes:
    """Give an event as bytes of JSON."""
    return json.dumps(event_document(data, **changes)).encode()


def event_with_raw_data(data: str, **changes: Any) -> bytes:
    """Give an event whose data is this very text, which `json` could not have written."""
    marked = event_bytes("the data stands here", **changes)
    return marked.replace(b'"the data stands here"', data.encode())


def _changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**document, **changes}.items() if value is not None}
