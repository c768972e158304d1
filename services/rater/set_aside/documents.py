"""The JSON of what was set aside: the same over HTTP and from commands."""

from typing import Any

import msgspec

from services.rater.corrections.documents import line_item_documents
from services.rater.set_aside.conflicts import Resolved, WholeConflict
from services.rater.set_aside.naming import replay_of
from services.rater.set_aside.versions import Version, differences
from shared.moments import format_moment
from shared.tables.rater import Conflict, DeadLetter

Document = dict[str, Any]


def dead_letter_document(letter: DeadLetter, *, whole: bool = False) -> Document:
    """Describe a dead letter; `whole` adds the record itself, where it was kept."""
    document: Document = {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.log_offset,
        "received_at": format_moment(letter.received_at),
        "code": letter.code,
        "detail": letter.detail,
        "pointer": letter.pointer,
        "source": letter.source,
        "event": letter.event_id,
        "replay_of": replay_of(letter.headers),
        "state": letter.state,
        "closed_at": format_moment(letter.closed_at),
        "closed_by": letter.closed_by,
        "why": letter.why,
    }
    if whole:
        document["key"] = _text(letter.key)
        document["headers"] = letter.headers
        document["payload"] = _text(letter.payload)
    return document


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def conflict_document(conflict: Conflict) -> Document:
    """Describe a conflict, without its versions."""
    return {
        "id": conflict.id,
        "source": conflict.source,
        "event": conflict.event_id,
        "customer": conflict.customer_id,
        "received_at": format_moment(conflict.received_at),
        "state": conflict.state,
        "resolved_at": format_moment(conflict.resolved_at),
        "resolved_by": conflict.resolved_by,
        "why": conflict.why,
    }


def whole_conflict_document(whole: WholeConflict) -> Document:
    """Describe a conflict with both versions, and what they differ in."""
    return {
        **conflict_document(whole.conflict),
        "stored": _version_document(whole.stored),
        "other": _version_document(whole.other),
        "differences": [
            {"pointer": one.pointer, "stored": one.stored, "other": one.other}
            for one in differences(whole.stored, whole.other)
        ],
    }


def _version_document(version: Version) -> Document:
    return {
        **version.content(),
        "data": msgspec.json.decode(version.data),
        "partition": version.partition,
        "offset": version.offset,
        "received_at": format_moment(version.received_at),
    }


def resolved_document(resolved: Resolved) -> Document:
    """Describe a decision, with the line items that follow from it."""
    return {
        **conflict_document(resolved.conflict),
        "resolved": resolved.count,
        "batch_id": resolved.batch_id,
        "line_items": line_item_documents(resolved.items),
    }
