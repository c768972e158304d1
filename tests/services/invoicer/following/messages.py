"""Makes the messages that Stripe sends. Pure."""

import hashlib
import hmac
import json
from typing import Any

from services.invoicer.stripe_objects import API_VERSION


def signed(body: bytes, secret: str, at: int) -> str:
    """Give the header by which a message is known to be Stripe's."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def event(kind: str, about: dict[str, Any], event_id: str = "evt_1", **more: Any) -> dict[str, Any]:
    """Make an event about an object."""
    return {
        "id": event_id,
        "object": "event",
        "type": kind,
        "created": 1_790_000_000,
        "api_version": API_VERSION,
        "data": {"object": about},
        **more,
    }


def body_of(document: dict[str, Any]) -> bytes:
    """Give a message's body."""
    return json.dumps(document).encode()
