"""A way to the Stripe sandbox on which a test stands: it sees each call, and what comes of it.

I/O: HTTP on both sides. A watcher is asked before each call is passed on and after it was
answered; it may give an answer of its own, or `LostError`, so that no answer ever comes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.web import wait_until
from tests.integration.harness.ports import free_port


@dataclass(frozen=True)
class Call:
    """A call to Stripe."""

    method: str
    path: str
    query: str
    body: str
    key: str | None

    @property
    def name(self) -> str:
        """The method and what of the path says what is done: ``POST invoices/add_lines``."""
        parts = [part for part in self.path.split("/")[2:] if not part.startswith(("in_", "cus_"))]
        return f"{self.method} {'/'.join(parts)}"


class LostError(Exception):
    """The connection breaks: whoever made the call gets no answer."""


Before = Callable[[Call], Awaitable[Response | None]]
After = Callable[[Call, Response], Awaitable[Response]]


async def pass_on(_call: Call) -> Response | None:
    """Let a call through."""
    return None


async def give_back(_call: Call, answer: Response) -> Response:
    """Give the answer as it came."""
    return answer


class Proxy:
    """Passes calls on to the sandbox, by way of the watchers."""

    def __init__(self, target: str, http: httpx.AsyncClient) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.calls: list[Call] = []
        self.before: Before = pass_on
        self.after: After = give_back
        self._target = target
        self._http = http

    async def answer(self, request: Request) -> Response:
        """Answer one call."""
        body = await request.body()
        call = Call(
            request.method,
            request.url.path,
            request.url.query,
            body.decode(),
            request.headers.get("idempotency-key"),
        )
        self.calls.append(call)
        try:
            own = await self.before(call)
            return own or await self.after(call, await self._passed_on(request, body))
        except LostError:
            # Headers promise more than is sent, and the server then breaks the connection.
            return Response(b"", headers={"content-length": "1"})

    async def _passed_on(self, request: Request, body: bytes) -> Response:
        dropped = ("host", "content-length", "connection", "accept-encoding")
        headers = {name: value for name, value in request.headers.items() if name not in dropped}
        url = f"{self._target}{request.url.path}"
        if request.url.query:
            url += f"?{request.url.query}"
        answer = await self._http.request(request.method, url, headers=headers, content=body)
        kept = {"content-type": answer.headers["content-type"]}
        return Response(answer.content, answer.status_code, kept)


@contextlib.asynccontextmanager
async def running_proxy(target: str) -> AsyncIterator[Proxy]:
    """Serve a proxy to the sandbox at `target` for as long as the context is open."""
    async with httpx.AsyncClient(timeout=30) as http:
        proxy = Proxy(target, http)
        methods = ["GET", "POST", "DELETE"]
        app = Starlette(routes=[Route("/{path:path}", proxy.answer, methods=methods)])
        port = int(proxy.url.rpartition(":")[2])
        config = uvicorn.Config(
            app, port=port, log_level="critical", ws="none", lifespan="off", access_log=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())

        async def started() -> bool:
            return server.started

        await wait_until(started, first_delay=0.01, longest=0.01)
        try:
            yield proxy
        finally:
            server.should_exit = True
            server.force_exit = True
            await serving
