"""The JSON of what became of events, and of sources: the same over HTTP and from commands. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from services.ingest.whereabouts.deciding import Item, Stored, Whereabouts
from services.ingest.whereabouts.sources import Source
from shared.moments import format_moment
from shared.money import plain

Document = dict[str, Any]


def event_document(found: Whereabouts) -> Document:
    """Describe where an event is; what does not apply is null or empty."""
    stored = found.stored
    return {
        "source": found.source,
        "id": found.id,
        "state": found.state,
        "note": found.note,
        "line_items": [] if stored is None else [_item_document(one) for one in stored.items],
        "invoice": None if stored is None else stored.invoice,
        "waiting_for": None if stored is None else stored.waiting_for,
        **_stored_document(stored),
        "conflicts": [
            {"id": one.id, "state": one.state, "received_at": format_moment(one.received_at)}
            for one in found.conflicts
        ],
        "dead_letters": [
            {
                "id": one.id,
                "code": one.code,
                "detail": one.detail,
                "pointer": one.pointer,
                "state": one.state,
                "received_at": format_moment(one.received_at),
            }
            for one in found.letters
        ],
    }


def _stored_document(stored: Stored | None) -> Document:
    names = (
        "customer",
        "type",
        "time",
        "received_at",
        "handled_at",
        "partition",
        "offset",
        "contract",
        "plan",
        "counted",
        "voided",
    )
    if stored is None:
        return dict.fromkeys(names)
    voided = stored.voided
    values = (
        stored.customer_id,
        stored.type,
        format_moment(stored.time),
        format_moment(stored.received_at),
        format_moment(stored.handled_at),
        stored.partition,
        stored.offset,
        stored.contract_id,
        stored.plan,
        stored.counted,
        voided and {"at": format_moment(voided.at), "by": voided.by, "why": voided.why},
    )
    return dict(zip(names, values, strict=True))


def _item_document(item: Item) -> Document:
    return {
        "id": item.id,
        "charge": item.charge,
        "band": item.band,
        "quantity": plain(item.quantity),
        "unit_price": plain(item.unit_price),
        "amount": plain(item.amount),
        "currency": item.currency,
        "usage_period": item.usage_period,
        "posting_period": item.posting_period,
        "kind": item.kind,
        "invoice": item.invoice,
        "invoice_line": item.invoice_line,
    }


def sources_document(sources: Sequence[Source], now: datetime, span: timedelta) -> Document:
    """Describe sources; what names no source that could be read stands apart, as `unnamed`."""
    unnamed = next((one for one in sources if not one.name), Source(""))
    return {
        "as_of": format_moment(now),
        "since": format_moment(now - span),
        "sources": [_source_document(one, now) for one in sources if one.name],
        "unnamed": {
            "duplicates": unnamed.duplicates,
            "rejected": unnamed.rejected,
            "dead_letters": unnamed.dead_letters,
        },
    }


def _source_document(source: Source, now: datetime) -> Document:
    rhythm = source.rhythm
    silence = None if rhythm.last_received is None else now - rhythm.last_received
    return {
        "source": source.name,
        "first_event": format_moment(source.first),
        "last_event": format_moment(source.last),
        "events": {"hour": source.hour, "day": source.day, "month": source.month},
        "duplicates": source.duplicates,
        "rejected": source.rejected,
        "dead_letters": source.dead_letters,
        "conflicts": {"month": source.conflicts, "open": source.open_conflicts},
        "last_received": format_moment(rhythm.last_received),
        "silent_seconds": _seconds(silence),
        "longest_usual_silence_seconds": _seconds(rhythm.longest_usual),
        "silent": rhythm.is_silent(now),
        "gaps": [
            {
                "from": format_moment(one.since),
                "to": format_moment(one.until),
                "seconds": _seconds(one.until - one.since),
            }
            for one in rhythm.gaps
        ],
    }


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else max(0, int(span.total_seconds()))
