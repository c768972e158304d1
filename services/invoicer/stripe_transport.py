"""How a call of the SDK goes out, and what its answer or error means. I/O: HTTP by the SDK."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from itertools import cycle
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import stripe

from services.invoicer.pace import Pace
from services.invoicer.stripe_objects import API_VERSION, StripeFault

T = TypeVar("T")

_NOTHING = b"{}"
_RIGHT = re.compile(r"\brak_[a-z0-9_]+")
"""A right of a restricted API key, as Stripe names it."""
_body: ContextVar[bytes] = ContextVar("body")
"""The body of the last good answer that this task has got."""


class GuardedHTTP(stripe.HTTPClient):
    """The SDK's way out: each call waits for its turn, and its answer must be of our version.

    The SDK would make objects of all that an answer holds, which costs more than all the rest of
    a call. It gets an empty one for each that is good; the body is kept for who asked.

    Calls take turns with several clients: for every call a client looks at each of its
    connections that is not in use, so that one with all of them takes a tenth longer.
    """

    name = "guarded"

    def __init__(self, clients: Sequence[stripe.HTTPClient], pace: Pace) -> None:
        super().__init__()
        self._clients = clients
        self._turns = cycle(clients)
        self._pace = pace

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Make a call; raise `StripeFault` for an answer of another version of the API."""
        await self._pace.wait(method, urlsplit(url).path)
        content, status, answered = await next(self._turns).request_async(
            method, url, headers, post_data
        )
        _check_version(answered)
        if status >= 300:
            return content, status, answered
        _body.set(content)
        return _NOTHING, status, answered

    async def sleep_async(self, secs: float) -> None:
        """Sleep, as the SDK would before another try of its own; it makes none here."""
        await self._clients[0].sleep_async(secs)

    async def close_async(self) -> None:
        """Close the connections."""
        for client in self._clients:
            close: Callable[[], Awaitable[None]] = client.close_async
            await close()


def _check_version(headers: Mapping[str, str]) -> None:
    version = next((v for name, v in headers.items() if name.lower() == "stripe-version"), None)
    if version not in (None, API_VERSION):
        raise StripeFault(
            f"Stripe answers in version {version} of its API, not in {API_VERSION}, which this"
            " Tallybook is written for; check TALLYBOOK_STRIPE_API_BASE, or upgrade Tallybook",
            retry="later",
            reach="account",
        )


async def reply(call: Awaitable[object], kind: type[T]) -> T:
    """Make a call, and read what we use of its answer; the rest of it is Stripe's own."""
    try:
        await call
    except stripe.StripeError as error:
        raise _fault(error) from None
    try:
        return msgspec.json.decode(_body.get(), type=kind)
    except msgspec.ValidationError as error:
        raise StripeFault(f"Stripe's answer is not as expected: {error}", retry="never") from None
    except msgspec.DecodeError:
        message = "Stripe does not answer: what came is no JSON"
        raise StripeFault(message, retry="soon", reach="stripe") from None


def _fault(error: stripe.StripeError) -> StripeFault:
    """Judge an error. The message is Stripe's, which masks keys; the key itself is not in it."""
    status = error.http_status or 0
    if isinstance(error, stripe.APIConnectionError) or status < 400:
        message = "Stripe does not answer: the connection failed"
        return StripeFault(message, retry="soon", reach="stripe")
    if isinstance(error, stripe.PermissionError):
        return StripeFault(_refusal(error.user_message or ""), retry="later", reach="account")
    if isinstance(error, stripe.AuthenticationError):
        message = "Stripe refuses the API key; check TALLYBOOK_STRIPE_API_KEY"
        return StripeFault(message, retry="later", reach="account")
    if status == 400 and "stripe api version" in (error.user_message or "").lower():
        return StripeFault(
            f"Stripe does not know version {API_VERSION} of its API, which this Tallybook is"
            f" written for: {error.user_message}",
            retry="later",
            reach="account",
        )
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    advice = headers.get("stripe-should-retry")
    busy = status in (409, 429) or status >= 500
    if advice is not None:
        busy = advice == "true"
    return StripeFault(
        f"Stripe says ({status}): {error.user_message or 'nothing'}",
        retry="soon" if busy else "later" if status >= 500 else "never",
        answered=status not in (409, 429),
        missing=error.code == "resource_missing",
        retry_after=_seconds(headers.get("retry-after")),
        reach="stripe" if status == 429 or status >= 500 else "call",
    )


def _refusal(message: str) -> str:
    """Name the rights of which each would do, where Stripe names any; no more of its message.

    It has a part of the key in it.
    """
    rights = " or ".join(dict.fromkeys(_RIGHT.findall(message)))
    lacks = f"; it lacks {rights}" if rights else ""
    return f"Stripe does not let the API key, TALLYBOOK_STRIPE_API_KEY, do this{lacks}"


def _seconds(text: Any) -> float | None:
    return float(text) if isinstance(text, str) and text.isascii() and text.isdigit() else None
