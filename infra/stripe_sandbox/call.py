"""One call of an operation, as the operations see it. I/O: the store."""

from dataclasses import dataclass

from infra.stripe_sandbox import objects
from infra.stripe_sandbox.errors import missing_resource
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.reading import check_metadata_size
from infra.stripe_sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Call:
    """A call: the store, the moment in Unix time, the id in the path and the values read."""

    store: Store
    now: int
    public_url: str
    object_id: str
    values: Json


def listing(call: Call, kind: str, url: str) -> Json:
    """Give the page of a kind of object that the values ask for."""
    page, more = call.store.page(kind, call.values)
    return objects.listing(url, page, more)


def existing(call: Call, kind: str, object_id: str, param: str, status: int = 404) -> Json:
    """Read an object that must be there and not deleted."""
    found = call.store.get(kind, object_id)
    if found is None or found[1]:
        raise missing_resource(kind, object_id, param, status)
    return found[0]


def merged_metadata(document: Json, call: Call, name: str = "metadata") -> dict[str, str]:
    """Give an object's metadata with the call's laid over; refuse too many keys."""
    old: dict[str, str] = document["metadata"]
    if name not in call.values:
        return old
    merged = objects.merge_metadata(old, call.values[name])
    check_metadata_size(merged, name)
    return merged
