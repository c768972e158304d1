"""Traces: when they are made, what hangs under what, and that no error's message gets into one."""

import logging
import os
import subprocess
import sys

import pytest
from starlette.types import Message, Receive, Scope, Send

from shared.trace_context import TraceContext
from shared.traced_app import traced
from shared.tracing import (
    OFF,
    Tracing,
    _worded,
    context_of,
    is_asked_for,
    link,
    start_tracing,
)
from tests.house.repository import ROOT
from tests.shared.traces import KeptTraces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
SOMEBODY_S = TraceContext(7, 8, sampled=True, state="a=1")


@pytest.fixture(autouse=True)
def _loggers_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "propagate", True)
    for part in ("", ".exporter", ".sdk", ".util"):
        monkeypatch.setattr(logging.getLogger(f"opentelemetry{part}"), "handlers", [])


@pytest.fixture
def kept() -> KeptTraces:
    return KeptTraces()


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4318/v1/metrics"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_traces_are_made_where_a_receiver_is_named(
    environment: dict[str, str], asked: bool
) -> None:
    assert is_asked_for(environment) is asked


def test_without_a_receiver_there_are_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    assert start_tracing("tallybook-tests") is OFF
    with OFF.span("nothing") as span:
        assert not span.is_recording()
        assert not context_of(span).sampled


UNLOADED = """
import sys
import threading
from shared.tracing import OFF, start_tracing
assert start_tracing("tallybook-tests") is OFF
assert threading.active_count() == 1
for part in ("opentelemetry.sdk", "opentelemetry.exporter"):
    assert part not in sys.modules, part
"""


def test_a_service_without_traces_loads_nothing_of_what_exports_them() -> None:
    environment = {name: value for name, value in os.environ.items() if "OTEL_" not in name}
    subprocess.run([sys.executable, "-c", UNLOADED], check=True, cwd=ROOT, env=environment)


def test_a_protocol_that_is_not_spoken_means_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert start_tracing("tallybook-tests") is OFF


def test_a_variable_that_cannot_be_used_means_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    assert start_tracing("tallybook-tests") is OFF


@pytest.mark.parametrize(
    ("said", "values", "worded"),
    [
        ("code: %s, reason: %s", (401, "sk-secret"), "code: 401, reason: …"),
        ("error %s, again in %.2fs", (OSError("secret"), 1.5), "error OSError, again in 1.50s"),
        ("100% full", (), "100% full"),
        ("%d spans", ("secret",), "%d spans"),
    ],
)
def test_a_complaint_is_passed_on_without_texts_in_it(
    said: str, values: tuple[object, ...], worded: str
) -> None:
    record = logging.LogRecord("opentelemetry.sdk", logging.WARNING, "", 1, said, values, None)
    assert _worded(record) == worded


def test_a_span_hangs_under_the_one_around_it_or_under_somebody_else_s(kept: KeptTraces) -> None:
    with kept.tracing.span("outer", parent=SOMEBODY_S) as outer:
        with kept.tracing.span("inner"):
            kept.tracing.begin("aside", links=[SOMEBODY_S], since=5).end()
        link(outer, SOMEBODY_S)
    aside, inner, first = kept.spans
    assert first.parent is not None
    assert (first.parent.trace_id, first.parent.span_id, first.parent.is_remote) == (7, 8, True)
    assert context_of(outer).state == "a=1"
    assert inner.parent == first.context
    assert aside.parent == inner.context
    assert aside.start_time == 5
    for span in (aside, first):
        assert [one.context.span_id for one in span.links] == [8]


def test_of_an_error_only_its_type_is_told(kept: KeptTraces) -> None:
    with pytest.raises(ValueError), kept.tracing.span("bad"):
        raise ValueError("the payload")
    (span,) = kept.spans
    assert span.attributes == {"error.type": "ValueError"}
    assert not span.status.is_ok
    assert "the payload" not in span.to_json()


async def _request(tracing: Tracing, scope: Scope, status: int | None) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if status is None:
            raise ValueError("the payload")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        raise NotImplementedError

    async def send(_message: Message) -> None:
        pass

    await traced(app, tracing)(scope, receive, send)


def _scope(path: str, method: str = "GET") -> Scope:
    headers = [(b"traceparent", f"00-{7:032x}-{8:016x}-01".encode())]
    whole = {"type": "http", "scheme": "http", "http_version": "1.1", "query_string": b"q=secret"}
    return {**whole, "method": method, "path": path, "headers": headers}


async def test_a_request_s_span_has_neither_path_nor_query(kept: KeptTraces) -> None:
    await _request(kept.tracing, _scope("/v1/customers/secret", "STRANGE"), 503)
    (span,) = kept.spans
    assert span.name == "HTTP"
    assert span.parent is not None
    assert span.parent.span_id == 8
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.response.status_code"] == 503
    assert span.attributes["error.type"] == "503"
    assert "secret" not in span.to_json()


async def test_a_request_that_fails_without_an_answer_counts_as_500(kept: KeptTraces) -> None:
    with pytest.raises(ValueError, match="the payload"):
        await _request(kept.tracing, _scope("/v1/events"), None)
    (span,) = kept.spans
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 500
    assert "the payload" not in span.to_json()


async def test_health_and_metrics_are_not_traced(kept: KeptTraces) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        await _request(kept.tracing, _scope(path), 200)
    assert kept.spans == []


def test_without_traces_an_app_stays_as_it_is() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """Answer nothing."""

    assert traced(app, OFF) is app


def test_the_exporter_s_own_log_lines_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    tracing = start_tracing("tallybook-tests")
    try:
        assert tracing.on
        assert not logging.getLogger("opentelemetry").propagate
    finally:
        tracing.close()


def test_a_state_that_is_none_is_not_quoted_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as where nothing takes log lines
    tracing = start_tracing("test")
    tracing.begin("one", parent=TraceContext(7, 8, sampled=False, state="HIDDEN=x\nforged")).end()
    tracing.close()
    assert "HIDDEN" not in "".join(capfd.readouterr())


def test_headers_for_the_receiver_that_are_none_are_told_without_what_they_hold(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer HIDDEN")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    start_tracing("test").close()
    said = "".join(capfd.readouterr())
    assert "Header format invalid" in said
    assert "HIDDEN" not in said
