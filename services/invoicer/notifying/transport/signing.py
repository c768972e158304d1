"""Signatures of Standard Webhooks, by which a receiver knows who sent a message. Pure.

See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from services.invoicer.notifying.outbox.notices import Notice
from shared.moments import format_moment

SECRET_BYTES = 32
"""So many random bytes a secret has; 24 to 64 are allowed."""

_PREFIX = "whsec_"


def write_secret(random_bytes: bytes) -> str:
    """Write a secret as its owner gets it."""
    return _PREFIX + base64.b64encode(random_bytes).decode()


def body_of(notice: Notice) -> bytes:
    """Give the body of a notice's messages, the same for each attempt."""
    document: dict[str, Any] = {
        "type": notice.type,
        "timestamp": format_moment(notice.occurred_at),
        "data": notice.data,
    }
    return msgspec.json.encode(document)


def signed_headers(
    secrets: Iterable[str], message_id: str, now: datetime, body: bytes
) -> dict[str, str]:
    """Give the headers that name and sign a message, by each secret that is in force."""
    timestamp = str(int(now.timestamp()))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(one, signed)}" for one in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
