"""Whether a message came from Stripe, just now. Pure.

https://docs.stripe.com/webhooks#verify-manually: the header ``t=…,v1=…`` holds the Unix time of
sending and the HMAC-SHA256 of ``"t.body"`` by the endpoint's secret; while a secret is being
replaced there are several.
"""

import hashlib
import hmac

from shared.errors import TallybookError

TOLERANCE_SECONDS = 300
"""How far the time of sending may lie from ours, before or after."""


class SignatureError(TallybookError):
    """A message is not signed by Stripe, or is too old to be told from one played back."""

    code = "wrong_signature"


def check_signature(header: str | None, body: bytes, secret: str, now: int) -> None:
    """Raise `SignatureError` unless Stripe signed the body within the tolerance."""
    if not header:
        raise SignatureError("the header Stripe-Signature is missing")
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal()):
        raise SignatureError("the header Stripe-Signature names no time")
    signed = f"{times[0]}.".encode() + body
    right = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    given = [value for name, _, value in parts if name == "v1"]
    if not any(hmac.compare_digest(right.encode(), one.encode()) for one in given):
        raise SignatureError(
            "no signature fits; is TALLYBOOK_STRIPE_WEBHOOK_SECRET that of this endpoint?"
        )
    if abs(now - int(times[0])) > TOLERANCE_SECONDS:
        raise SignatureError(
            f"it was signed at {times[0]}, more than {TOLERANCE_SECONDS} seconds from {now}"
        )
