"""What every service's HTTP side shares: health, metrics, problem details, and serving.

A service is an `AsgiFastStream` app. Its hot routes are raw ASGI and matched by exact path;
every other path goes to a FastAPI app, which carries the documented interface.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import prometheus_client
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.telemetry import TelemetryConfig
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker
from pydantic import AfterValidator, AwareDatetime
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.database import TRANSIENT
from shared.errors import TallybookError, WrongUseError
from shared.openapi_page import openapi_page
from shared.openapi_problems import with_problems
from shared.problems import MEDIA_TYPE, problem, problem_of
from shared.settings import Settings
from shared.traced_app import traced
from shared.tracing import OFF, Tracing

_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""FastAPI's own would tell paths, queries and error messages, which hold customers' data."""

Readiness = Callable[[], Awaitable[Sequence[str]]]
"""Names what a service still waits for; nothing means ready."""


class ServiceApp(AsgiFastStream):
    """A FastStream app whose other paths a FastAPI app answers; it closes its `tracing`."""

    def __init__(
        self,
        *brokers: KafkaBroker,
        api: FastAPI,
        routes: Sequence[tuple[str, ASGIApp]] = (),
        lifespan: Callable[..., Any],
        tracing: Tracing = OFF,
    ) -> None:
        @contextlib.asynccontextmanager
        async def whole() -> AsyncIterator[None]:
            # Not after `serve`: uvicorn ends the process by the signal that stopped it.
            try:
                async with lifespan():
                    yield
            finally:
                tracing.close()

        hot = [(path, traced(app, tracing, path)) for path, app in routes]
        super().__init__(*brokers, asgi_routes=hot, lifespan=whole, logger=None)
        self._api = api
        self._answer = traced(api, tracing)

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand every path that is no hot route to the FastAPI app."""
        await self._answer(scope, receive, send)


class _Api(FastAPI):
    """A FastAPI app whose document tells keys and problems as they are."""

    def openapi(self) -> dict[str, Any]:
        """Give the OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = with_problems(super().openapi())
        return self.openapi_schema


def make_api(title: str, description: str, readiness: Readiness) -> FastAPI:
    """Make a FastAPI app with health, metrics and problem details."""
    api = _Api(
        title=title,
        description=description,
        version="1",
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    api.add_exception_handler(TallybookError, _answer_error)
    api.add_exception_handler(RequestValidationError, _answer_invalid)
    api.add_exception_handler(HTTPException, _answer_http)
    for fault in (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        api.add_exception_handler(fault, _answer_database_error)
    api.add_exception_handler(Exception, _answer_fault)

    @api.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "live"}

    @api.get("/health/ready", tags=["health"], responses={503: {"description": "Not yet"}})
    async def ready() -> Response:
        """Tell whether the service can do its work, and what it waits for if not."""
        waiting = list(await readiness())
        status = 503 if waiting else 200
        return JSONResponse(
            {"status": "waiting" if waiting else "ready", "waiting_for": waiting}, status
        )

    @api.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Give the Prometheus metrics."""
        body = prometheus_client.generate_latest()
        return Response(body, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """Show the OpenAPI document as a page that loads nothing from elsewhere."""
        return HTMLResponse(openapi_page(api.openapi()))

    return api


async def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TallybookError)
    return JSONResponse(problem_of(error), error.status, error.headers(), MEDIA_TYPE)


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = "/".join(str(part) for part in first["loc"])
    body = problem(422, "invalid_input", f"{place}: {first['msg']}", pointer=f"/{place}")
    return JSONResponse(body, 422, media_type=MEDIA_TYPE)


async def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = problem(error.status_code, "http_error", str(error.detail))
    return JSONResponse(body, error.status_code, media_type=MEDIA_TYPE)


async def _answer_database_error(_request: Request, error: Exception) -> Response:
    """Say whether Postgres is away, or what was given is nothing that it can hold."""
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(cause, ValueError | asyncpg.DataError):
        body = problem(422, "invalid_input", "holds a value or character that cannot be stored")
        return JSONResponse(body, 422, media_type=MEDIA_TYPE)
    if not isinstance(cause, TRANSIENT):
        raise error
    body = problem(503, "unavailable", "Postgres does not answer now; ask again in a moment")
    return JSONResponse(body, 503, {"Retry-After": "1"}, MEDIA_TYPE)


async def _answer_fault(_request: Request, _error: Exception) -> Response:
    """Answer what nobody foresaw; the error itself goes to the log, never to the answer."""
    body = problem(500, "internal_error", "this is a fault of Tallybook's; its log says more")
    return JSONResponse(body, 500, media_type=MEDIA_TYPE)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years that there are") from None


UtcMoment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment in a request, RFC 3339 with its offset; in UTC once it is read."""


async def serve(app: ASGIApp, settings: Settings, *, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way.

    With a certificate in the settings it is HTTPS, TLS 1.3 and nothing older; raises
    `WrongUseError` where that cannot be used.
    """
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,  # its lines go the way of all others, exceptions without values
        log_level=logging.WARNING,
        timeout_graceful_shutdown=15,
        server_header=False,
        date_header=False,
    )
    try:
        config.load()
    except OSError as error:  # TLS errors are such too
        raise WrongUseError(
            f"TALLYBOOK_TLS_CERT_FILE, {settings.tls_cert_file}, and TALLYBOOK_TLS_KEY_FILE,"
            f" {settings.tls_key_file}, cannot be used: {error.strerror or error}"
        ) from None
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    await uvicorn.Server(config).serve()


async def wait_until(
    attempt: Callable[[], Awaitable[bool]], *, first_delay: float = 0.1, longest: float = 5.0
) -> None:
    """Try again, ever more slowly, until `attempt` says true."""
    delay = first_delay
    while not await attempt():
        await asyncio.sleep(delay)
        delay = min(longest, delay * 2)


@contextlib.asynccontextmanager
async def running(task: Awaitable[None]) -> Any:
    """Run a background task for as long as the context is open."""
    background = asyncio.ensure_future(task)
    try:
        yield background
    finally:
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
