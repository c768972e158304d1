"""Ways to the sandbox on which every exchange is held to Stripe's document. I/O: HTTP."""

from collections.abc import Mapping
from typing import Any

import anyio
import httpx
import msgspec
import stripe

from infra.stripe_sandbox.forms import Value, encode
from tests.infra.stripe_sandbox.openapi import StripeContract

KEY = "sk_test_sandbox"


class CheckedTransport(httpx.AsyncBaseTransport):
    """Checks each answer, and each request unless wrong ones are sent on purpose."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, requests: bool) -> None:
        self._inner = inner
        self._requests = requests
        self.exchanges: list[tuple[str, str, int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        contract = StripeContract.installed()
        method, path = request.method, request.url.path
        form = (await request.aread()).decode() if method == "POST" else request.url.query.decode()
        if self._requests:
            contract.check_request(method, path, form)
        answer = await self._inner.handle_async_request(request)
        body = await answer.aread()
        if path.startswith("/v1/") and answer.headers["content-type"] == "application/json":
            contract.check_answer(method, path, answer.status_code, body)
        self.exchanges.append((method, path, answer.status_code))
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


class CheckedStripeHTTP(stripe.HTTPClient):
    """The real SDK's way out, onto a transport of the test's own."""

    name = "checked"

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__()
        self._client = httpx.AsyncClient(transport=transport)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        answer = await self._client.request(
            method, url, headers=dict(headers), content=post_data or b""
        )
        return answer.content, answer.status_code, answer.headers

    async def close_async(self) -> None:
        await self._client.aclose()

    async def sleep_async(self, secs: float) -> None:
        await anyio.sleep(secs)


class Api:
    """Raw requests to the sandbox, for what the SDK would not send."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(
        self, path: str, values: Mapping[str, Value] | None = None, key: str | None = None
    ) -> httpx.Response:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.post(path, content=encode(values or {}), headers=headers)

    async def get(self, path: str, values: Mapping[str, Value] | None = None) -> httpx.Response:
        return await self.http.get(f"{path}?{encode(values)}" if values else path)

    async def customer(self, **values: Value) -> dict[str, Any]:
        return ok(await self.post("/v1/customers", {"email": "ada@example.com", **values}))

    async def draft(self, customer: str, **values: Value) -> dict[str, Any]:
        sent: dict[str, Value] = {
            "customer": customer,
            "currency": "usd",
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
        return ok(await self.post("/v1/invoices", {**sent, **values}))

    async def invoice_of(self, *amounts: int) -> dict[str, Any]:
        """Make a draft with lines of these amounts, for a new customer."""
        draft = await self.draft((await self.customer())["id"])
        if not amounts:
            return draft
        return ok(await self.post(f"/v1/invoices/{draft['id']}/add_lines", lines_of(*amounts)))


def lines_of(*amounts: int) -> dict[str, Value]:
    return {"lines": [{"amount": one, "description": f"{one} minor units"} for one in amounts]}


def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    decoded: dict[str, Any] = msgspec.json.decode(answer.content)
    return decoded


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    decoded: dict[str, Any] = msgspec.json.decode(answer.content)["error"]
    return decoded
