"""The sandbox as an ASGI app: routes, keys, errors and headers. I/O: HTTP and the store.

Each request is worked on without a pause once its body is read, so that requests never overlap
in the store.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.stripe_sandbox import API_VERSION, forms
from infra.stripe_sandbox.call import Call
from infra.stripe_sandbox.control import Clock, Control
from infra.stripe_sandbox.deliveries import deliver_for_ever
from infra.stripe_sandbox.errors import StripeApiError
from infra.stripe_sandbox.faults import Fault
from infra.stripe_sandbox.idempotency import Answer, Asked, KeysInUse, answer_once
from infra.stripe_sandbox.ids import new_id
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.operations import OPERATIONS, Operation
from infra.stripe_sandbox.reading import read_fields
from infra.stripe_sandbox.store import Store

_FORM = "application/x-www-form-urlencoded"
_NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization"
    " header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
)
_LIVE_KEY = (
    "This is Tallybook's Stripe sandbox, which takes no live keys: nothing was sent to Stripe."
    " Use a key that begins with sk_test_."
)


class Sandbox:
    """Answers requests; one per file."""

    def __init__(self, store: Store, clock: Clock, public_url: str) -> None:
        self._store = store
        self._public_url = public_url
        self._keys_in_use = KeysInUse()
        self._requests: Counter[str] = Counter()
        self.control = Control(store, clock, self._requests)

    def routes(self) -> list[Route]:
        """Give the API's routes and the sandbox's own."""
        return [
            *(Route(one.path, self._endpoint(one), methods=[one.method]) for one in OPERATIONS),
            *self.control.routes(),
        ]

    def _endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self._requests[operation.name] += 1
            headers = _headers(request)
            fault = self.control.faults.next_for(
                request.method, request.url.path, int(time.monotonic())
            )
            if fault is not None and fault.delay:
                await asyncio.sleep(fault.delay)
            try:
                _check_key(request)
                if fault is not None:
                    _refuse(fault, headers)
                answer = await self._answer(operation, request, headers["Request-Id"])
                if fault is not None and fault.kind == "lost":
                    # More is promised than is sent, and the server breaks the connection.
                    return Response(b"", headers={"content-length": "1"})
                if fault is not None and fault.kind == "error_after":
                    answer = self._failed_after(request)
            except StripeApiError as error:
                answer = Answer(error.status, msgspec.json.encode(error.body))
            if answer.original_request is not None:
                headers["Original-Request"] = answer.original_request
                headers["Idempotency-Key"] = request.headers["idempotency-key"]
            if answer.replayed:
                headers["Idempotent-Replayed"] = "true"
            return Response(answer.body, answer.status, headers, "application/json")

        return endpoint

    async def _answer(self, operation: Operation, request: Request, request_id: str) -> Answer:
        key = request.headers.get("idempotency-key") if operation.method == "POST" else None
        with nullcontext() if key is None else self._keys_in_use.claim(key):
            form = forms.decode(await _text(request))
            now = self.control.now()

            def read() -> Json:
                return read_fields(form, operation.fields, operation.required)

            def run(values: Json) -> Json:
                object_id = request.path_params.get("id", "")
                return operation.run(Call(self._store, now, self._public_url, object_id, values))

            if key is not None:
                asked = Asked(key, request.url.path, form, request_id, now)
                return answer_once(self._store, asked, read, run)
            with nullcontext() if operation.method == "GET" else self._store.transaction():
                return Answer(200, msgspec.json.encode(run(read())))

    def _failed_after(self, request: Request) -> Answer:
        """Answer a call that had its effect with 500, now and for the same key later."""
        answer = Answer(500, msgspec.json.encode(_asked_for().body))
        key = request.headers.get("idempotency-key")
        if key is not None and request.method == "POST":
            with self._store.transaction():
                self._store.answers.change(key, answer.status, answer.body)
        return answer


def _asked_for() -> StripeApiError:
    return StripeApiError(500, "The sandbox fails, as it was asked to.", kind="api_error")


def _refuse(fault: Fault, headers: dict[str, str]) -> None:
    """Raise the error that a fault without an effect is answered with."""
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if fault.kind == "error_before":
        raise _asked_for()
    if fault.kind in ("rate_limited", "locked"):
        code = "rate_limit" if fault.kind == "rate_limited" else "lock_timeout"
        headers["Stripe-Should-Retry"] = "true"
        message = "Request rate limit exceeded." if code == "rate_limit" else "Object is locked."
        raise StripeApiError(429, message, code=code, before_execution=True)


async def _text(request: Request) -> str:
    """Give what holds the parameters: a POST's body, else the query string."""
    if request.method != "POST":
        return request.url.query
    body = await request.body()
    if body and not request.headers.get("content-type", "").startswith(_FORM):
        message = f"Invalid request (check that your POST content type is {_FORM})."
        raise StripeApiError(400, message, before_execution=True)
    return body.decode("utf-8", "replace")


def _check_key(request: Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise StripeApiError(401, _NO_KEY, before_execution=True)
    if key.startswith(("sk_live_", "rk_live_")):
        raise StripeApiError(401, _LIVE_KEY, before_execution=True)
    if not key.startswith("sk_test_"):
        raise StripeApiError(401, "Invalid API Key provided.", before_execution=True)


def _headers(request: Request) -> dict[str, str]:
    version = request.headers.get("stripe-version", API_VERSION)
    return {"Request-Id": new_id("req", 14), "Stripe-Version": version}


async def _unknown_route(request: Request, _error: Exception) -> Response:
    message = f"Unrecognized request URL ({request.method}: {request.url.path})."
    body = StripeApiError(404, message).body
    return JSONResponse(body, 404, _headers(request))


async def _fault(request: Request, _error: Exception) -> Response:
    body = StripeApiError(500, "The sandbox failed; see its log.", kind="api_error").body
    return JSONResponse(body, 500, _headers(request))


def make_app(
    path: Path,
    clock: Clock = lambda: int(time.time()),
    public_url: str = "http://127.0.0.1",
) -> Starlette:
    """Make the app on a file; `public_url` is where its pages are said to be."""
    store = Store(path)
    sandbox = Sandbox(store, clock, public_url)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(deliver_for_ever(store)),
            asyncio.create_task(sandbox.control.watch_due_dates()),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.close()

    return Starlette(
        routes=sandbox.routes(),
        lifespan=lifespan,
        exception_handlers={404: _unknown_route, 405: _unknown_route, Exception: _fault},
    )
