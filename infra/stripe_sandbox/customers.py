"""What the operations on customers do. I/O: the call's store."""

from infra.stripe_sandbox import objects
from infra.stripe_sandbox.call import Call, existing, listing, merged_metadata
from infra.stripe_sandbox.errors import missing_resource
from infra.stripe_sandbox.events import happened
from infra.stripe_sandbox.ids import new_id, new_invoice_prefix
from infra.stripe_sandbox.objects import Json


def create(call: Call) -> Json:
    """Make a customer."""
    document = objects.customer(new_id("cus", 14), call.now, new_invoice_prefix(), call.values)
    call.store.put(document)
    return happened(call, "customer.created", document)


def retrieve(call: Call) -> Json:
    """Give a customer; a deleted one is given as deleted, as Stripe does."""
    found = call.store.get("customer", call.object_id)
    if found is None:
        raise missing_resource("customer", call.object_id, "id")
    document, is_deleted = found
    return objects.deleted("customer", call.object_id) if is_deleted else document


def update(call: Call) -> Json:
    """Change the fields given; metadata is merged."""
    document = existing(call, "customer", call.object_id, "id")
    changed = {**document, **call.values, "metadata": merged_metadata(document, call)}
    if "address" in call.values:
        changed["address"] = objects.address(call.values)
    call.store.put(changed)
    return happened(call, "customer.updated", changed)


def delete(call: Call) -> Json:
    """Delete a customer; its invoices stay, its drafts can be deleted and nothing else."""
    document = existing(call, "customer", call.object_id, "id")
    call.store.mark_deleted(call.object_id)
    happened(call, "customer.deleted", document)
    return objects.deleted("customer", call.object_id)


def page(call: Call) -> Json:
    """List customers, the newest first."""
    return listing(call, "customer", "/v1/customers")
