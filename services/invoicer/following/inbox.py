"""Stripe's events, each stored once, by whatever way it came. I/O: Postgres."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.following.events import LISTED_DAYS, StripeEvent
from services.invoicer.following.standing import FOLLOWED

_OVERLAP = timedelta(minutes=10)
"""So far back events are listed again, as Stripe may list one later than a younger one."""

_STORE = text(
    "INSERT INTO stripe_events"
    " (id, type, object_id, stripe_invoice_id, created_at, received_at, listed_at, applied_at)"
    " VALUES (:id, :type, :object_id, :stripe_invoice, :created_at, :now, :listed_at,"
    " CASE WHEN CAST(:stripe_invoice AS text) IS NULL THEN CAST(:now AS timestamptz) END)"
    " ON CONFLICT (id) DO UPDATE SET listed_at = excluded.listed_at"
    " WHERE stripe_events.listed_at IS NULL AND excluded.listed_at IS NOT NULL"
)
_WAITING = text(
    "SELECT DISTINCT e.stripe_invoice_id FROM stripe_events e"
    " JOIN invoices i ON i.stripe_invoice_id = e.stripe_invoice_id"
    " WHERE e.applied_at IS NULL AND i.state = ANY(:followed) ORDER BY 1 LIMIT 500"
)
_IDS = text(
    "SELECT id FROM stripe_events WHERE stripe_invoice_id = :invoice AND applied_at IS NULL"
)
_APPLIED = text("UPDATE stripe_events SET applied_at = :now WHERE id = ANY(:ids)")
_LAST_LISTED = text("SELECT max(created_at) FROM stripe_events WHERE listed_at IS NOT NULL")


async def store_events(
    engine: AsyncEngine, events: Sequence[StripeEvent], *, now: datetime, listed: bool
) -> None:
    """Store events that are not stored yet; `listed` ones need not be asked for again."""
    if not events:
        return
    rows = [
        {
            "id": one.id,
            "type": one.type,
            "object_id": one.object_id,
            "stripe_invoice": one.stripe_invoice,
            "created_at": one.created_at,
            "now": now,
            "listed_at": now if listed else None,
        }
        for one in events
    ]
    async with engine.begin() as connection:
        await connection.execute(_STORE, rows)


async def list_since(engine: AsyncEngine, now: datetime) -> datetime:
    """Give the moment from which Stripe's events are to be listed."""
    oldest = now - timedelta(days=LISTED_DAYS)
    async with engine.connect() as connection:
        last: datetime | None = await connection.scalar(_LAST_LISTED)
    return oldest if last is None else max(oldest, last - _OVERLAP)


async def waiting_invoices(engine: AsyncEngine) -> list[str]:
    """Name invoices at Stripe to look at again; those on their way wait until they are final."""
    async with engine.connect() as connection:
        rows = await connection.execute(_WAITING, {"followed": [*FOLLOWED, "void"]})
        return [row.stripe_invoice_id for row in rows]


async def waiting_events(engine: AsyncEngine, stripe_invoice: str) -> list[str]:
    """Name the events for which an invoice is to be looked at again."""
    async with engine.connect() as connection:
        rows = await connection.execute(_IDS, {"invoice": stripe_invoice})
        return [row.id for row in rows]


async def mark_applied(engine: AsyncEngine, ids: Sequence[str], now: datetime) -> None:
    """Note that an invoice was looked at after these events were known."""
    async with engine.begin() as connection:
        await connection.execute(_APPLIED, {"ids": list(ids), "now": now})
