"""Delivers events to webhook endpoints, signed as Stripe signs them. I/O: HTTP and the store.

https://docs.stripe.com/webhooks#verify-manually: ``t=…,v1=HMAC-SHA256(secret, "t.body")``. What
is not answered with 2xx is tried again, ever later, and given up in the end; the order is not
kept.
"""

import asyncio
import contextlib
import hashlib
import hmac
import time

import httpx

from infra.stripe_sandbox.outgoing import Delivery
from infra.stripe_sandbox.store import Store

_LOOK_SECONDS = 0.1
_TIMEOUT_SECONDS = 10.0
_AT_ONCE = 20
_FIRST_RETRY_SECONDS = 1.0
_LONGEST_RETRY_SECONDS = 3600.0
_MOST_ATTEMPTS = 16


def signature(body: bytes, secret: str, at: int) -> str:
    """Give the value of the header ``Stripe-Signature`` for a body sent at a Unix time."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def deliver_for_ever(store: Store) -> None:
    """Deliver what is due, until cancelled; what is left is delivered after the next start."""
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as http:
        while True:
            due = store.outgoing.due(time.time(), _AT_ONCE)
            if not due:
                await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.gather(*(_deliver(store, http, one) for one in due))


async def _deliver(store: Store, http: httpx.AsyncClient, one: Delivery) -> None:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(one.body, one.secret, int(time.time())),
    }
    is_taken = False
    with contextlib.suppress(httpx.HTTPError):
        answer = await http.post(one.url, content=one.body, headers=headers)
        is_taken = answer.is_success
    with store.transaction():
        if is_taken or one.attempts + 1 >= _MOST_ATTEMPTS:
            store.outgoing.end(one.number)
        else:
            pause = min(_LONGEST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2**one.attempts)
            store.outgoing.put_off(one.number, time.time() + pause)
