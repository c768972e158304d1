"""Reads what became of an event. I/O: reads of Postgres."""

from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.ingest.whereabouts.deciding import (
    Item,
    Letter,
    OtherVersion,
    Stored,
    Voided,
    Whereabouts,
)

_MOST = 100
"""Conflicts and dead letters that are named at most."""

_EVENT = text(
    "SELECT e.customer_id, e.type, e.time, e.received_at, e.partition, e.log_offset, e.batch_id,"
    " e.contract_id, c.plan_version_id AS plan, v.batch_id AS void_batch, v.voided_at, v.voided_by,"
    " v.reason, EXISTS (SELECT FROM customers u WHERE u.id = e.customer_id) AS customer_known,"
    " (SELECT b.handled_at FROM batches b WHERE b.topic = :topic AND b.partition = e.partition"
    "  AND b.first_offset <= e.log_offset ORDER BY b.first_offset DESC LIMIT 1) AS handled_at,"
    " ARRAY(SELECT DISTINCT charge ->> 'code' FROM plan_versions p, jsonb_array_elements("
    "  coalesce(c.overrides, '[]') || (p.definition -> 'charges')) AS charge"
    "  JOIN meters m ON m.code = charge ->> 'meter' AND m.definition ->> 'event_type' = e.type"
    "  WHERE p.id = c.plan_version_id AND NOT EXISTS ("
    "   SELECT FROM jsonb_each_text(coalesce(m.definition -> 'filter', '{}')) AS wanted"
    "   WHERE e.data ->> wanted.key IS DISTINCT FROM wanted.value)) AS charges"
    " FROM events e LEFT JOIN contracts c ON c.id = e.contract_id"
    " LEFT JOIN voids v ON v.source = e.source AND v.event_id = e.id"
    " WHERE e.source = :source AND e.id = :id"
)
_ITEMS = text(
    "SELECT l.id, l.charge, l.band, l.quantity, l.unit_price, l.amount, l.currency,"
    " l.usage_period::text, l.posting_period::text, l.kind, k.invoice_id, k.position"
    " FROM line_items l LEFT JOIN invoice_line_items k ON k.line_item_id = l.id"
    " WHERE l.batch_id = ANY(:batches) AND l.contract_id = :contract"
    " AND l.usage_period = to_char(CAST(:time AS timestamptz) AT TIME ZONE 'UTC', 'YYYY-MM')"
    " AND l.charge = ANY(:charges) ORDER BY l.id"
)
_CONFLICTS = text(
    "SELECT id, customer_id, state, received_at FROM conflicts"
    f" WHERE source = :source AND event_id = :id ORDER BY id DESC LIMIT {_MOST}"
)
_LETTERS = text(
    "SELECT id, payload, headers, code, detail, pointer, state, received_at FROM dead_letters"
    f" WHERE source = :source AND event_id = :id ORDER BY id DESC LIMIT {_MOST}"
)


async def find_event(
    session: AsyncSession, source: str, event_id: str, *, topic: str
) -> Whereabouts:
    """Find what is known of an event: in the books, as a conflict, as a dead letter."""
    name = {"source": source, "id": event_id}
    conflicts = [OtherVersion(*row) for row in await session.execute(_CONFLICTS, name)]
    letters = [_letter(row) for row in await session.execute(_LETTERS, name)]
    stored = await _stored(session, name, topic)
    return Whereabouts(source, event_id, stored, conflicts, letters)


async def _stored(session: AsyncSession, name: dict[str, str], topic: str) -> Stored | None:
    row = (await session.execute(_EVENT, {**name, "topic": topic})).one_or_none()
    if row is None:
        return None
    batches = [one for one in (row.batch_id, row.void_batch) if one is not None]
    about = {
        "batches": batches,
        "contract": row.contract_id,
        "time": row.time,
        "charges": row.charges,
    }
    items = [Item(*item) for item in await session.execute(_ITEMS, about)]
    return Stored(
        row.customer_id,
        row.type,
        row.time,
        row.received_at,
        row.handled_at,
        row.partition,
        row.log_offset,
        row.contract_id,
        row.plan,
        row.customer_known,
        bool(row.charges) or row.contract_id is None,
        row.voided_at and Voided(row.voided_at, row.voided_by, row.reason),
        items,
    )


class _Subject(msgspec.Struct, gc=False):
    subject: object = None


_decode_subject = msgspec.json.Decoder(_Subject).decode


def _letter(row: Any) -> Letter:
    return Letter(
        row.id,
        _customer(row.payload, dict(row.headers)),
        row.code,
        row.detail,
        row.pointer,
        row.state,
        row.received_at,
    )


def _customer(payload: bytes | None, headers: dict[str, str]) -> str | None:
    if "ce_subject" in headers:
        return headers["ce_subject"]
    try:
        subject = _decode_subject(payload or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return subject.subject if isinstance(subject.subject, str) else None
