"""Has the Stripe sandbox tell the invoicer what happens, as one does at Stripe. I/O: HTTP."""

from typing import Any

import httpx

from infra.local.credentials import Credentials
from infra.stripe_sandbox import API_VERSION
from services.invoicer.following.events import TYPES
from shared.settings import SANDBOX_STRIPE_KEY

PATH = "/v1/stripe/webhooks"
"""Where the invoicer takes messages."""

_ENDPOINTS = "/v1/webhook_endpoints"


async def webhook_secret(stripe_url: str, invoicer_url: str, credentials: Credentials) -> str:
    """Give the signing secret of the invoicer's webhook endpoint at the sandbox.

    The endpoint is made where there is none for this address, or where its secret is not known:
    only the answer that makes one shows it. Those for other addresses that were made here, before
    the ports changed, are deleted.
    """
    url = f"{invoicer_url}{PATH}"
    headers = {"Authorization": f"Bearer {SANDBOX_STRIPE_KEY}"}
    async with httpx.AsyncClient(base_url=stripe_url, headers=headers, timeout=30) as stripe:
        ours = await _ours(stripe)
        kept = credentials.get(ours[0]["id"]) if len(ours) == 1 else None
        if kept is not None and ours[0]["url"] == url:
            return kept
        for one in ours:
            (await stripe.delete(f"{_ENDPOINTS}/{one['id']}")).raise_for_status()
        made = await _make(stripe, url)
        secret: str = made["secret"]
        credentials.keep(made["id"], secret)
        return secret


async def _ours(stripe: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await stripe.get(_ENDPOINTS, params={"limit": 100})
    endpoints = answer.raise_for_status().json()["data"]
    return [one for one in endpoints if one["metadata"].get("tallybook") == "invoicer"]


async def _make(stripe: httpx.AsyncClient, url: str) -> dict[str, Any]:
    form = {
        "url": url,
        "api_version": API_VERSION,
        "metadata[tallybook]": "invoicer",
        **{f"enabled_events[{place}]": name for place, name in enumerate(TYPES)},
    }
    answer = await stripe.post(_ENDPOINTS, data=form)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made
