"""The client's events name the span that was open when they were recorded, and keep to it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from shared.client import AsyncClient, Client, Options
from shared.client.events import MAX_EVENT_BYTES, encode_event
from shared.trace_context import context_of_event
from tests.shared.client.server import Reply, problem, running_ingest, verdicts

KEY = "the-" + "key-of-this-test"
ROOT = Path(__file__).parents[3]
TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
EVENT: dict[str, Any] = {"id": "e1", "source": "shop", "type": "t", "subject": "acme", "data": {}}


def encoded(event: dict[str, Any], *, trace_context: bool = True) -> bytes:
    return encode_event(event, None, trace_context=trace_context)[1]


def test_an_event_names_the_span_that_is_open() -> None:
    with TRACER.start_as_current_span("work") as span:
        found = context_of_event(encoded(EVENT))
    own = span.get_span_context()
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (own.trace_id, own.span_id, True)


def test_nothing_is_added_where_there_is_no_span_that_is_kept() -> None:
    plain = encoded({**EVENT, "time": "2026-10-16T08:30:00Z"})
    unkept = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("tests")
    assert b"traceparent" not in plain
    with unkept.start_as_current_span("work"):
        assert encoded({**EVENT, "time": "2026-10-16T08:30:00Z"}) == plain
    with TRACER.start_as_current_span("work"):
        assert b"traceparent" not in encoded(EVENT, trace_context=False)


@pytest.mark.parametrize("own", ["00-abc", "", None])
def test_what_the_event_says_itself_stays(own: str | None) -> None:
    with TRACER.start_as_current_span("work"):
        assert json.loads(encoded({**EVENT, "traceparent": own}))["traceparent"] == own


def test_an_event_is_never_too_large_for_it() -> None:
    room = MAX_EVENT_BYTES - len(encoded({**EVENT, "data": ""}))
    with TRACER.start_as_current_span("work"):
        text = encoded({**EVENT, "data": "x" * (room - 5)})
    assert len(text) <= MAX_EVENT_BYTES
    assert b"traceparent" not in text


@pytest.mark.parametrize("use_async", [False, True], ids=["sync", "async"])
async def test_what_is_sent_again_is_the_same(use_async: bool, tmp_path: Path) -> None:
    replies: list[Reply | None] = [None, problem(503, "unavailable")]

    def decide(events: list[Any]) -> Reply | None:
        return replies.pop(0) if replies else verdicts(events)

    options = Options(first_wait=0.01, longest_wait=0.02, spill=tmp_path)
    with running_ingest(decide) as ingest:
        if use_async:
            async with AsyncClient(ingest.url, KEY, options) as client:
                with TRACER.start_as_current_span("work") as span:
                    await client.record(EVENT)
                with TRACER.start_as_current_span("later"):
                    assert await client.flush(20)
        else:
            with Client(ingest.url, KEY, options) as other:
                with TRACER.start_as_current_span("work") as span:
                    other.record(EVENT)
                with TRACER.start_as_current_span("later"):
                    assert other.flush(20)
    assert len(ingest.requests) == 3
    sent = {events[0]["traceparent"] for events in ingest.requests}
    own = span.get_span_context()
    assert sent == {f"00-{own.trace_id:032x}-{own.span_id:016x}-01"}


ALONE = """
import sys
sys.modules["opentelemetry"] = None
from shared.client.events import encode_event
event = {"id": "1", "source": "s", "type": "t", "subject": "c", "data": {}}
assert b"traceparent" not in encode_event(event, None, trace_context=True)[1]
"""


def test_a_program_without_opentelemetry_needs_none() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True, cwd=ROOT)
