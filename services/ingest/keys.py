"""API keys: made, listed and revoked, each act audited. The secret is shown once, kept nowhere."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from shared import audit
from shared.api_keys import new_secret, secret_hash
from shared.errors import InvalidInputError, NotFoundError
from shared.keys import SCOPES, SEND_EVENTS
from shared.tables.ingest import ApiKey

_FASTEST = 1_000_000_000


async def create_key(
    session: AsyncSession,
    *,
    scopes: Sequence[str] = (SEND_EVENTS,),
    sources: Sequence[str] = (),
    customers: Sequence[str] = (),
    event_types: Sequence[str] = (),
    expires_at: datetime | None = None,
    events_per_second: int | None = None,
    actor: str,
    now: datetime,
) -> tuple[ApiKey, str]:
    """Make a key; gives it and its secret, which cannot be had again.

    Of what no sources, customers or event types are named it may send any.
    """
    if "" in (*sources, *customers, *event_types):
        raise InvalidInputError("a source, customer or event type is named by an empty text")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise InvalidInputError(f"there is no scope {unknown[0]!r}; use one of {', '.join(SCOPES)}")
    if not scopes:
        raise InvalidInputError(f"a key needs a scope; use one of {', '.join(SCOPES)}")
    if expires_at is not None and expires_at <= now:
        raise InvalidInputError(f"the key would have expired already, at {expires_at.isoformat()}")
    if events_per_second is not None and not 1 <= events_per_second <= _FASTEST:
        raise InvalidInputError(f"a key sends from 1 to {_FASTEST:,} events a second")
    secret = new_secret()
    key = ApiKey(
        id=f"key_{uuid.uuid4().hex[:12]}",
        secret_sha256=secret_hash(secret),
        scopes=list(scopes),
        sources=list(sources),
        customers=list(customers),
        event_types=list(event_types),
        created_at=now,
        expires_at=expires_at,
        events_per_second=events_per_second,
    )
    session.add(key)
    await audit.record(
        session, actor=actor, act="key.create", subject=key.id, after=describe_key(key)
    )
    await session.commit()
    return key, secret


async def list_keys(session: AsyncSession) -> Sequence[ApiKey]:
    """Give all keys, the oldest first, revoked ones too."""
    query = select(ApiKey).order_by(col(ApiKey.created_at), col(ApiKey.id))
    return (await session.execute(query)).scalars().all()


async def revoke_key(session: AsyncSession, key_id: str, *, actor: str, now: datetime) -> ApiKey:
    """Take a key out of force; revoking it again changes nothing."""
    key = await session.get(ApiKey, key_id)
    if key is None:
        raise NotFoundError(f"there is no key {key_id!r}; see: keys list")
    if key.revoked_at is None:
        before = describe_key(key)
        key.revoked_at = now
        await audit.record(
            session,
            actor=actor,
            act="key.revoke",
            subject=key_id,
            before=before,
            after=describe_key(key),
        )
        await session.commit()
    return key


def describe_key(key: ApiKey) -> dict[str, object]:
    """Give all of a key that may be shown: never its hash."""
    return {
        "id": key.id,
        "scopes": key.scopes,
        "sources": key.sources,
        "customers": key.customers,
        "event_types": key.event_types,
        "events_per_second": key.events_per_second,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at and key.expires_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
        "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
    }
