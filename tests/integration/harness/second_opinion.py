"""What stripe-mock makes of the requests that go to the sandbox, and of its answers. I/O: HTTP."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from infra.stripe_sandbox.forms import decode
from services.invoicer.stripe_objects import API_VERSION

STANDING = frozenset(
    {
        # An event is about an object of any kind, that of stripe-mock about one of another kind.
        ("GET /v1/events", "data[].data.object"),
        ("GET /v1/events/{id}", "data.object"),
        # The document has it, for the answer that makes an endpoint; stripe-mock's example has not.
        ("POST /v1/webhook_endpoints", "secret"),
        # To stripe-mock, which remembers nothing, no customer is ever deleted.
        ("GET /v1/customers/{id}", "deleted"),
    }
)
"""Where the sandbox rightly answers what stripe-mock does not: the operation, and the place."""

_KINDS: dict[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_ID = re.compile(r"/(cus|in|cn|evt|we)_[^/]+")
_OF_THE_CONNECTION = ("host", "content-length", "connection", "accept-encoding")


class SecondOpinion(httpx.AsyncBaseTransport):
    """Passes requests on to the sandbox, and asks stripe-mock about each.

    `objections` says which stripe-mock did not take, and where the sandbox's answer has another
    shape than its own; `stood` has what of `STANDING` was met. `asked` has the operations, each
    with the names of the parameters that were sent.
    """

    def __init__(self, sandbox: httpx.AsyncBaseTransport, stripe_mock: httpx.AsyncClient) -> None:
        self._sandbox = sandbox
        self._stripe_mock = stripe_mock
        self.objections: list[str] = []
        self.stood: set[tuple[str, str]] = set()
        self.asked: dict[str, set[str]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Give the sandbox's answer."""
        form = (await request.aread() or request.url.query).decode()
        operation = f"{request.method} {_ID.sub('/{id}', request.url.path)}"
        self.asked.setdefault(operation, set()).update(decode(form))
        if request.headers.get("stripe-version") != API_VERSION:
            self.objections.append(f"{operation} does not ask for version {API_VERSION}")
        answer = await self._sandbox.handle_async_request(request)
        ours = await answer.aread()
        theirs = await self._ask(request)
        if not theirs.is_success:
            why = msgspec.json.decode(theirs.content)["error"]["message"]
            self.objections.append(f"{operation} is refused: {why}; what was sent: {form}")
        elif answer.is_success:
            self._compare(operation, ours, theirs.content)
        return httpx.Response(answer.status_code, headers=answer.headers, content=ours)

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        headers = [one for one in request.headers.items() if one[0] not in _OF_THE_CONNECTION]
        target = request.url.raw_path.decode()
        return await self._stripe_mock.request(
            request.method, target, headers=headers, content=request.content
        )

    def _compare(self, operation: str, ours: bytes, theirs: bytes) -> None:
        for place, what in differences(msgspec.json.decode(ours), msgspec.json.decode(theirs)):
            known = {one for one in STANDING if one[0] == operation and _is_within(place, one[1])}
            self.stood |= known
            if not known:
                self.objections.append(f"{operation} answers {place}, {what}")


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Give where the one value has what the other has not, or has another JSON type, and which.

    Of stripe-mock's arrays the first element stands for all. Null is of any type, as only the
    document says whether it may be: to that the contract test holds the answers.
    """
    if ours is None or theirs is None:
        return
    kind, other = _KINDS[type(ours)], _KINDS[type(theirs)]
    if kind != other:
        yield place, f"of type {kind}, at stripe-mock {other}"
    elif kind == "array" and theirs:
        for one in ours:
            yield from differences(one, theirs[0], f"{place}[]")
    elif kind == "object" and not place.endswith("metadata"):
        for name, value in ours.items():
            inner = f"{place}.{name}".lstrip(".")
            if name in theirs:
                yield from differences(value, theirs[name], inner)
            else:
                yield inner, "which stripe-mock does not have"


def _is_within(place: str, whole: str) -> bool:
    return place == whole or place.startswith((f"{whole}.", f"{whole}["))
