"""What the operations on webhook endpoints do. I/O: the call's store."""

from infra.stripe_sandbox import objects
from infra.stripe_sandbox.call import Call, existing, listing
from infra.stripe_sandbox.ids import new_id
from infra.stripe_sandbox.objects import Json


def create(call: Call) -> Json:
    """Make an endpoint; only this answer shows its signing secret."""
    secret = new_id("whsec", 32)
    document = objects.webhook_endpoint(new_id("we"), call.now, call.values)
    call.store.put(document)
    call.store.outgoing.keep_secret(document["id"], secret)
    return {**document, "secret": secret}


def retrieve(call: Call) -> Json:
    """Give an endpoint."""
    return existing(call, "webhook_endpoint", call.object_id, "id")


def page(call: Call) -> Json:
    """List endpoints, the newest first."""
    return listing(call, "webhook_endpoint", "/v1/webhook_endpoints")


def delete(call: Call) -> Json:
    """Delete an endpoint; what it was to get is dropped."""
    existing(call, "webhook_endpoint", call.object_id, "id")
    call.store.remove(call.object_id)
    return objects.deleted("webhook_endpoint", call.object_id)
