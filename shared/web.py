"""What every service's HTTP side shares: health, metrics, problem details, and serving.

A service is an `AsgiFastStream` app. Its hot routes are raw ASGI and matched by exact path;
every other path goes to a FastAPI app, which carries the documented interface.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import prometheus_client
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import TallybookError
from shared.problems import MEDIA_TYPE, problem, problem_of

Readiness = Callable[[], Awaitable[Sequence[str]]]
"""Names what a service still waits for; nothing means ready."""


class ServiceApp(AsgiFastStream):
    """A FastStream app whose other paths a FastAPI app answers."""

    def __init__(
        self,
        *brokers: KafkaBroker,
        api: FastAPI,
        routes: Sequence[tuple[str, ASGIApp]] = (),
        lifespan: Callable[..., Any],
    ) -> None:
        super().__init__(*brokers, asgi_routes=routes, lifespan=lifespan, logger=None)
        self._api = api

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand every path that is no hot route to the FastAPI app."""
        await self._api(scope, receive, send)


def make_api(title: str, description: str, readiness: Readiness) -> FastAPI:
    """Make a FastAPI app with health, metrics and problem details."""
    api = FastAPI(title=title, description=description, version="1", redoc_url=None)
    api.add_exception_handler(TallybookError, _answer_error)
    api.add_exception_handler(RequestValidationError, _answer_invalid)
    api.add_exception_handler(HTTPException, _answer_http)

    @api.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "live"}

    @api.get("/health/ready", tags=["health"])
    async def ready() -> Response:
        """Tell whether the service can do its work, and what it waits for if not."""
        waiting = list(await readiness())
        status = 503 if waiting else 200
        return JSONResponse(
            {"status": "waiting" if waiting else "ready", "waiting_for": waiting}, status
        )

    @api.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Give the Prometheus metrics."""
        body = prometheus_client.generate_latest()
        return Response(body, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return api


async def _answer_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TallybookError)
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return JSONResponse(problem_of(error), error.status, headers, MEDIA_TYPE)


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


async def serve(app: ASGIApp, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level=logging.WARNING,
        timeout_graceful_shutdown=15,
        server_header=False,
        date_header=False,
    )
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
