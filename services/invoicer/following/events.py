"""What Tallybook reads of Stripe's events: which invoice to look at again. Pure.

An event is a hint and no more: what it says of the invoice may be old by the time it is read,
so nothing of it is kept but what it is about.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from shared.errors import TallybookError

TYPES = (
    "invoice.paid",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.overdue",
    "credit_note.created",
    "credit_note.voided",
)
"""The events after which an invoice may stand elsewhere."""

LISTED_DAYS = 29
"""Stripe lists events of 30 days; a day is left for clocks."""


class EventError(TallybookError):
    """A message from Stripe that is no event, or is of another API version than ours."""

    code = "wrong_event"


class _Object(msgspec.Struct):
    id: str = ""
    kind: str = msgspec.field(default="", name="object")
    invoice: object = None
    metadata: dict[str, str] | None = None


class _Data(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    id: str
    type: str
    created: int
    data: _Data
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """An event; `stripe_invoice` is the invoice to look at again, None for none of ours."""

    id: str
    type: str
    created_at: datetime
    api_version: str | None
    object_id: str
    stripe_invoice: str | None


def read_event(document: object) -> StripeEvent:
    """Read an event; raises `EventError`."""
    try:
        event = msgspec.convert(document, _Event)
        created_at = datetime.fromtimestamp(event.created, UTC)
    except (msgspec.ValidationError, ValueError, OverflowError, OSError) as error:
        raise EventError(f"this is no event of Stripe's: {error}") from None
    about = event.data.object
    return StripeEvent(
        event.id, event.type, created_at, event.api_version, about.id, _invoice(event.type, about)
    )


def read_message(body: bytes, api_version: str) -> StripeEvent:
    """Read an event that Stripe sent to us; raises `EventError`."""
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise EventError(f"this is no event of Stripe's: {error}") from None
    event = read_event(document)
    if event.api_version != api_version:
        raise EventError(
            f"event {event.id} is of API version {event.api_version}, Tallybook reads"
            f" {api_version}: make the endpoint at Stripe with that version"
        )
    return event


def _invoice(kind: str, about: _Object) -> str | None:
    if kind not in TYPES:
        return None
    if about.kind == "invoice":
        ours = "billing_key" in (about.metadata or {})
        return about.id if ours else None
    return about.invoice if isinstance(about.invoice, str) else None
