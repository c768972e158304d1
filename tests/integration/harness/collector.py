"""A receiver of traces: OTLP over HTTP on loopback, in protobuf. I/O: a server in a thread."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Seen:
    """A span as it was received, its ids in hexadecimal."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    failed: bool
    texts: list[str] = field(repr=False)
    """Every text in it."""


@dataclass
class Collector:
    """What was received so far."""

    url: str
    spans: list[Seen] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def variables(self) -> dict[str, str]:
        """What a service finds in its environment to send its traces here, and soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def add(self, body: bytes) -> None:
        """Take in one request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for of_resource in request.resource_spans:
                service = _values(of_resource.resource.attributes)["service.name"]
                for of_scope in of_resource.scope_spans:
                    self.spans.extend(_seen(service, span) for span in of_scope.spans)

    def find(self, service: str, name: str, **wanted: Any) -> list[Seen]:
        """Give a service's spans of a name; `wanted` are the values of some of its fields."""
        with self._lock:
            return [
                span
                for span in self.spans
                if (span.service, span.name) == (f"tallybook-{service}", name)
                and all(getattr(span, key) == value for key, value in wanted.items())
            ]

    async def received(
        self, service: str, name: str, *, seconds: float = 60, **wanted: Any
    ) -> Seen:
        """Wait for such a span."""
        deadline = time.monotonic() + seconds
        while not (found := self.find(service, name, **wanted)):
            if time.monotonic() > deadline:
                others = sorted({(one.service, one.name) for one in self.spans})
                raise AssertionError(f"no span {name} {wanted} of {service}; there are: {others}")
            await asyncio.sleep(0.05)
        return found[0]


def _seen(service: str, span: Span) -> Seen:
    attributes = _values(span.attributes)
    return Seen(
        service,
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        attributes,
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        span.status.code == Status.STATUS_CODE_ERROR,
        [span.name, str(span), *attributes, *map(str, attributes.values())],
    )


def _values(attributes: Any) -> dict[str, Any]:
    def value(one: KeyValue) -> Any:
        return getattr(one.value, one.value.WhichOneof("value") or "string_value")

    return {one.key: value(one) for one in attributes}


@contextlib.contextmanager
def running_collector() -> Iterator[Collector]:
    """Receive traces on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda body: collector.add(body)))
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(add: Callable[[bytes], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            add(self.rfile.read(int(self.headers["content-length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing: the tests' output is theirs."""

    return Handler
