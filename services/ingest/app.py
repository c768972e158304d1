"""Ingest as an ASGI app: the hot route is raw ASGI, the rest FastAPI."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
from faststream.kafka import KafkaBroker
from prometheus_client import Counter
from starlette.types import Receive, Scope, Send

from services.ingest.log_writer import LogWriter
from services.ingest.verdicts import Decision, decide
from shared.api_keys import KeyRing
from shared.errors import TallybookError
from shared.events import TimeLimits
from shared.keys import SEND_EVENTS
from shared.problems import MEDIA_TYPE, problem, problem_of
from shared.secrets_guard import may_hold_secret
from shared.settings import Settings
from shared.web import ServiceApp, make_api, serve

ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

EVENTS = Counter("tallybook_ingest_events", "Events by verdict and code", ["verdict", "code"])

_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class RequestError(TallybookError):
    """A request of which no event could be read."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        super().__init__(detail)


class EventsRoute:
    """`POST /v1/events`: reads, decides, writes to the log, answers."""

    def __init__(self, settings: Settings, keys: KeyRing) -> None:
        self._settings = settings
        self._keys = keys
        self._limits = TimeLimits(settings.max_event_age_days, settings.max_event_skew_seconds)
        self.log = LogWriter(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, problems included."""
        try:
            body = _encode((await self._take(scope, receive)).answer())
        except TallybookError as error:
            await _answer(send, error.status, _encode(problem_of(error)), MEDIA_TYPE)
        except Exception:
            detail = "ingest failed on this request; send it again, and tell its operator"
            document = problem(500, "internal_error", detail)
            await _answer(send, 500, _encode(document), MEDIA_TYPE)
            raise
        else:
            await _answer(send, 200, body, "application/json")

    async def _take(self, scope: Scope, receive: Receive) -> Decision:
        if scope["method"] != "POST":
            raise RequestError(405, "method_not_allowed", "send events with POST")
        headers: dict[bytes, bytes] = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        key = await self._keys.authenticate(authorization, SEND_EVENTS)
        kind = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower().decode("latin-1")
        if kind not in (ONE, BATCH):
            raise RequestError(
                415, "unsupported_media_type", f"send {BATCH} (many events) or {ONE} (one)"
            )
        body = await self._read_body(headers, receive)
        raws = self._split(body) if kind == BATCH else [body]
        now, suspect = datetime.now(UTC), may_hold_secret(body)
        decision = decide(raws, key, self._limits, now, suspect=suspect)
        if decision.records:
            await self.log.write(decision.records)
        _count(decision)
        return decision

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        limit = self._settings.max_request_bytes
        too_large = RequestError(413, "too_large", f"a request has at most {limit} bytes")
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            raise too_large
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestError(400, "disconnected", "the request ended before its body")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large
            if not message.get("more_body"):
                return b"".join(parts) if len(parts) > 1 else parts[0]

    def _split(self, body: bytes) -> Sequence[msgspec.Raw]:
        try:
            raws = _decode_batch(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            detail = f"the body is no JSON array of events: {error}"
            raise RequestError(400, "invalid_json", detail) from None
        if len(raws) > self._settings.max_request_events:
            most = self._settings.max_request_events
            raise RequestError(413, "too_many_events", f"a request has at most {most} events")
        return raws


def _count(decision: Decision) -> None:
    accepted = len(decision.records)
    EVENTS.labels("accepted", "").inc(accepted)
    if accepted == len(decision.results):
        return
    for result in decision.results:
        if result.verdict != "accepted":
            EVENTS.labels(result.verdict, result.code or "").inc()


async def _answer(send: Send, status: int, body: bytes, media_type: str) -> None:
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class LogBroker(KafkaBroker):
    """The broker of ingest's app; `LogWriter` has its connection, for batches of its own."""

    def __init__(self, log: LogWriter, settings: Settings) -> None:
        super().__init__(settings.kafka_bootstrap_servers.split(","), logger=None)
        self._log_writer = log

    async def start(self) -> None:
        """Reach Kafka, waiting as long as it takes."""
        await self._log_writer.open()

    async def stop(self, *_: object) -> None:
        """Let go of Kafka."""
        await self._log_writer.close()


def make_app(settings: Settings) -> ServiceApp:
    """Make ingest's app; it starts to answer at once and says what it still waits for."""
    keys = KeyRing(settings, "tallybook_ingest")
    route = EventsRoute(settings, keys)

    async def readiness() -> Sequence[str]:
        waiting = [] if keys.ready else ["postgres"]
        return waiting if route.log.ready else [*waiting, "kafka"]

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with keys:
            yield

    api = make_api("Tallybook ingest", "Takes execution events in.", readiness)
    broker = LogBroker(route.log, settings)
    return ServiceApp(broker, api=api, routes=[("/v1/events", route)], lifespan=lifespan)


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    await serve(make_app(settings), host=settings.host, port=settings.ingest_port)
