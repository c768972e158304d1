"""OpenTelemetry traces, where OTEL_* in the environment asks for them. I/O: a thread that exports.

Nothing here may hold a service up: spans wait in a bounded queue and are dropped where it is
full, a collector that does not answer is named in the log once a minute, and a service that
stops waits for its last spans only briefly. An error is noted by its type alone, as its message
may quote a payload.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState

from shared.trace_context import TraceContext

__all__ = [
    "OFF",
    "Attributes",
    "Kind",
    "Span",
    "Tracing",
    "context_of",
    "current",
    "fail",
    "is_asked_for",
    "link",
    "start_tracing",
]

Attributes = Mapping[str, str | int]
Kind = Literal["internal", "server", "client", "producer", "consumer"]

_STOP_SECONDS = 5.0
_QUIET_SECONDS = 60.0
_HTTP = "http/protobuf"

log = structlog.get_logger("tallybook.tracing")


class Tracing:
    """Makes spans; without a tracer it makes none, and `on` says so to those in a hurry."""

    def __init__(
        self, tracer: trace.Tracer | None = None, stop: Callable[[], None] | None = None
    ) -> None:
        self._tracer = tracer
        self._stop = stop
        self.on = tracer is not None

    def close(self) -> None:
        """Send the last spans, and wait for that a few seconds at most."""
        if self._stop is None:
            return
        stopping = threading.Thread(target=self._stop, name="stop-tracing", daemon=True)
        stopping.start()
        stopping.join(_STOP_SECONDS)
        if stopping.is_alive():
            log.warning("the last traces were not sent: their receiver does not answer")

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        parent: TraceContext | None = None,
        alone: bool = False,
    ) -> Iterator[Span]:
        """Open a span; those opened within it hang under it.

        It hangs under `parent`, or else under the one around it unless it is to stand `alone`.
        """
        if self._tracer is None:
            yield trace.INVALID_SPAN
            return
        span = self.begin(name, attributes, kind=kind, parent=parent, alone=alone)
        with trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield span
            except BaseException as error:
                fail(span, type(error).__qualname__)
                raise

    def begin(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        parent: TraceContext | None = None,
        alone: bool = False,
        links: Sequence[TraceContext] = (),
        since: int | None = None,
    ) -> Span:
        """Begin a span that the caller ends; `since` is when it began, in nanoseconds."""
        if self._tracer is None:
            return trace.INVALID_SPAN
        return self._tracer.start_span(
            name,
            _under(parent) if parent is not None else Context() if alone else None,
            trace.SpanKind[kind.upper()],
            attributes,
            [Link(_span_context(link)) for link in links],
            since,
        )


OFF = Tracing()
"""No traces."""


def fail(span: Span, error: str) -> None:
    """Mark what a span stands for as failed."""
    span.set_attribute("error.type", error)
    span.set_status(trace.StatusCode.ERROR)


def link(span: Span, other: TraceContext) -> None:
    """Point from a span to one of another trace."""
    span.add_link(_span_context(other))


def current() -> Span:
    """Give the span that is open now, or one that keeps nothing."""
    return trace.get_current_span()


def context_of(span: Span) -> TraceContext:
    """Give the context of a span, for others to carry."""
    own = span.get_span_context()
    return TraceContext(
        own.trace_id, own.span_id, own.trace_flags.sampled, own.trace_state.to_header()
    )


def _under(parent: TraceContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_span_context(parent)), Context())


def _span_context(context: TraceContext) -> SpanContext:
    return SpanContext(
        context.trace_id,
        context.span_id,
        is_remote=True,
        trace_flags=TraceFlags(int(context.sampled)),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Tell whether the environment names where traces are to go, and does not switch them off."""

    def given(name: str) -> str:
        return environment.get(name, "").strip()

    exporters = given("OTEL_TRACES_EXPORTER").lower() or "otlp"
    return (
        given("OTEL_SDK_DISABLED").lower() != "true"
        and "otlp" in [name.strip() for name in exporters.split(",")]
        and bool(
            given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or given("OTEL_EXPORTER_OTLP_ENDPOINT")
        )
    )


def start_tracing(service: str) -> Tracing:
    """Begin to send traces, if the environment asks for it; the caller closes it."""
    if not is_asked_for(os.environ):
        return OFF
    protocol = (
        os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or _HTTP
    )
    if protocol != _HTTP:
        log.warning(
            "no traces: they can be sent only by the protocol http/protobuf;"
            " set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL and the endpoint to that",
            protocol=protocol,
        )
        return OFF
    # Only here: a service without traces does not load them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _hear_now_and_then()
    try:
        named = OTELResourceDetector().detect().attributes
        provider = TracerProvider(
            resource=Resource.create({"service.name": str(named.get("service.name") or service)}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except (ValueError, OSError) as error:
        log.warning("no traces: a variable of OpenTelemetry's cannot be used", reason=str(error))
        return OFF
    return Tracing(provider.get_tracer("tallybook"), provider.shutdown)


class _NowAndThen(logging.Handler):
    """Passes on what OpenTelemetry complains of, once a minute and without the values in it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Log a complaint, unless there was one just now."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            log.warning("traces are late or lost", reason=_worded(record))


def _worded(record: logging.LogRecord) -> str:
    """Word a complaint with its numbers and the types of its errors, and with no text in it."""
    args = record.args if isinstance(record.args, tuple) else ()
    try:
        return str(record.msg) % tuple(_shown(value) for value in args)
    except (TypeError, ValueError):
        return str(record.msg)


def _shown(value: object) -> object:
    if isinstance(value, BaseException):
        return type(value).__name__
    return value if isinstance(value, int | float) else "…"


def _hear_now_and_then() -> None:
    """Keep the complaints of OpenTelemetry's packages, one for each try, out of the log.

    What its other parts complain of is not heard at all: they quote what senders wrote.
    """
    own = logging.getLogger("opentelemetry")
    own.propagate = False
    own.handlers = [logging.NullHandler()]
    handler = _NowAndThen()
    for part in ("opentelemetry.exporter", "opentelemetry.sdk", "opentelemetry.util"):
        logging.getLogger(part).handlers = [handler]
