"""Ingest as an ASGI app: the hot route is raw ASGI, the rest FastAPI."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from faststream.kafka import KafkaBroker
from prometheus_client import Counter, Gauge, Histogram
from starlette.types import Receive, Scope, Send

from services.ingest.decompressing import ENCODINGS
from services.ingest.describing import routes as describing_routes
from services.ingest.describing.http import with_events_route
from services.ingest.log_writer import LogWriter
from services.ingest.pacing import Pacing
from services.ingest.reading import Reader, RequestError, RequestLimits
from services.ingest.rejections import Rejections
from services.ingest.tracing import note, sending
from services.ingest.verdicts import Decision, decide
from services.ingest.whereabouts import routes as whereabouts_routes
from services.ingest.whereabouts.remembering import RememberedSources
from shared.api_keys import KeyRing
from shared.cycles import look_seldom_for_cycles
from shared.database import open_engine
from shared.errors import TallybookError
from shared.events import TimeLimits, glance_through
from shared.kafka_access import kafka_security, kafka_servers
from shared.keys import SEND_EVENTS, Key
from shared.problems import MEDIA_TYPE, problem, problem_of
from shared.settings import Settings
from shared.tracing import OFF, Tracing, start_tracing
from shared.web import ServiceApp, make_api, serve

EVENTS = Counter("tallybook_ingest_events", "Events by verdict and code", ["verdict", "code"])
REQUESTS = Counter("tallybook_ingest_requests", "Requests with events, by HTTP status", ["status"])
IN_FLIGHT = Gauge("tallybook_ingest_in_flight_requests", "Requests with events not answered yet")
BYTES = Counter("tallybook_ingest_request_bytes", "Bytes of their bodies, as they came")
ACK_SECONDS = Histogram(
    "tallybook_ingest_ack_seconds",
    "Seconds from the start of a request until its events are accepted",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

_encode = msgspec.json.Encoder().encode


class EventsRoute:
    """`POST /v1/events`: reads, decides, writes to the log, answers."""

    def __init__(
        self, settings: Settings, keys: KeyRing, rejections: Rejections, tracing: Tracing
    ) -> None:
        self._tracing = tracing
        self._keys = keys
        self._rejections = rejections
        self._limits = RequestLimits(settings.max_request_bytes, settings.max_request_events)
        self._time_limits = TimeLimits(settings.max_event_age_days, settings.max_event_skew_seconds)
        self._pacing = Pacing(settings.key_events_per_second)
        self._topic = settings.usage_topic
        self.log = LogWriter(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, problems included."""
        started = time.perf_counter()
        with IN_FLIGHT.track_inprogress():
            try:
                decision, headers = await self._take(scope, receive)
            except TallybookError as error:
                body = _encode(problem_of(error))
                await _answer(send, error.status, body, MEDIA_TYPE, error.headers())
            except Exception:
                detail = "ingest failed on this request; send it again, and tell its operator"
                document = problem(500, "internal_error", detail)
                await _answer(send, 500, _encode(document), MEDIA_TYPE, {})
                raise
            else:
                if decision.records:
                    ACK_SECONDS.observe(time.perf_counter() - started)
                body = _encode(decision.answer())
                await _answer(send, 200, body, "application/json", headers)

    async def _take(self, scope: Scope, receive: Receive) -> tuple[Decision, dict[str, str]]:
        if scope["method"] != "POST":
            raise RequestError(405, "method_not_allowed", "send events with POST")
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        authorization = dict(headers).get(b"authorization", b"").decode("latin-1")
        key = await self._keys.authenticate(authorization, SEND_EVENTS)
        reader = Reader(headers, self._limits)
        plain = reader.plain(await self._read_body(receive))
        events, now, glance = reader.events(plain), datetime.now(UTC), glance_through(plain)
        paced = self._pacing.take(key, len(events), time.monotonic())
        batch = plain if reader.is_batch else None
        decision = decide(events, key, self._time_limits, now, glance, batch)
        if self._tracing.on:
            await self._write_traced(decision, key)
        elif decision.records:
            await self.log.write(decision.records, key.id)
        self._count(decision)
        return decision, paced

    async def _write_traced(self, decision: Decision, key: Key) -> None:
        note(decision)
        if decision.records:
            with sending(self._tracing, self._topic, decision.records) as trace:
                await self.log.write(decision.records, key.id, trace)

    def _count(self, decision: Decision) -> None:
        accepted = len(decision.records)
        EVENTS.labels("accepted", "").inc(accepted)
        if accepted == len(decision.results):
            return
        for result in decision.results:
            if result.verdict != "accepted":
                EVENTS.labels(result.verdict, result.code or "").inc()
                self._rejections.count(result.source, result.code or result.verdict)

    async def _read_body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError(400, "disconnected", "the request ended before its body")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limits.max_bytes:
                raise self._limits.too_large
            if not message.get("more_body"):
                BYTES.inc(size)
                return b"".join(parts) if len(parts) > 1 else parts[0]


async def _answer(
    send: Send, status: int, body: bytes, media_type: str, more_headers: Mapping[str, str]
) -> None:
    REQUESTS.labels(str(status)).inc()
    headers = [
        *((name.lower().encode(), value.encode()) for name, value in more_headers.items()),
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 415:
        headers.append((b"accept-encoding", ", ".join(ENCODINGS).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LogBroker(KafkaBroker):
    """The broker of ingest's app; `LogWriter` has its connection, for batches of its own."""

    def __init__(self, log: LogWriter, settings: Settings) -> None:
        super().__init__(kafka_servers(settings), security=kafka_security(settings), logger=None)
        self._log_writer = log

    async def start(self) -> None:
        """Reach Kafka, waiting as long as it takes."""
        await self._log_writer.open()

    async def stop(self, *_: object) -> None:
        """Let go of Kafka."""
        await self._log_writer.close()


def make_app(settings: Settings, tracing: Tracing = OFF) -> ServiceApp:
    """Make ingest's app; it starts to answer at once and says what it still waits for."""
    keys = KeyRing(settings, "tallybook_ingest")
    engine = open_engine(settings, "tallybook_ingest")
    rejections = Rejections(engine)
    route = EventsRoute(settings, keys, rejections, tracing)

    async def readiness() -> Sequence[str]:
        waiting = [] if keys.ready else ["postgres"]
        return waiting if route.log.ready else [*waiting, "kafka"]

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with keys, rejections.writing():
            yield
        await engine.dispose()

    api = make_api("Tallybook ingest", "Takes execution events in.", readiness)
    api.state.settings = settings
    api.state.keys = keys
    api.state.engine = engine
    api.state.sources = RememberedSources()
    api.include_router(whereabouts_routes.router)
    api.include_router(describing_routes.router)
    api.openapi_schema = with_events_route(api.openapi())
    broker = LogBroker(route.log, settings)
    hot = [("/v1/events", route)]
    return ServiceApp(broker, api=api, routes=hot, lifespan=lifespan, tracing=tracing)


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    app = make_app(settings, start_tracing("tallybook-ingest"))
    look_seldom_for_cycles()
    await serve(app, settings, port=settings.ingest_port)
