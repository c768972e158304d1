"""What happened, as Stripe's events tell it. I/O: the call's store."""

from infra.stripe_sandbox import API_VERSION
from infra.stripe_sandbox.call import Call, existing, listing
from infra.stripe_sandbox.errors import refused
from infra.stripe_sandbox.ids import new_id
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.store import Store


def emit(store: Store, now: int, kind: str, document: Json) -> None:
    """Note that something happened to an object, and for whom it is to be delivered."""
    endpoints = [one for one in store.all("webhook_endpoint") if _wants(one, kind)]
    event: Json = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": {"object": document},
        "livemode": False,
        "pending_webhooks": len(endpoints),
        "request": None,
        "type": kind,
    }
    store.put(event)
    for endpoint in endpoints:
        store.outgoing.add(event["id"], endpoint["id"])


def _wants(endpoint: Json, kind: str) -> bool:
    return endpoint["status"] == "enabled" and not {"*", kind}.isdisjoint(
        endpoint["enabled_events"]
    )


def happened(call: Call, kind: str, document: Json) -> Json:
    """Note that the call did something to an object, and give the object."""
    emit(call.store, call.now, kind, document)
    return document


def retrieve(call: Call) -> Json:
    """Give an event."""
    return existing(call, "event", call.object_id, "id")


def page(call: Call) -> Json:
    """List events, the newest first."""
    if "type" in call.values and "types" in call.values:
        raise refused("You may only specify one of these parameters: type, types.", param="type")
    return listing(call, "event", "/v1/events")
