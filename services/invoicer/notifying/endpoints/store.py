"""Who is told: endpoints, added and removed by people, each act audited. I/O: Postgres.

A secret has to be kept as it is, for messages to be signed with it. It is given out once, when
it is made; nothing else here shows it. A URL may hold one too: only who lists endpoints gets its
path and query.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from services.invoicer.notifying.outbox.notices import ALERTS, TYPES
from services.invoicer.notifying.transport.addresses import Mailbox, read_address, without_path
from services.invoicer.notifying.transport.signing import SECRET_BYTES, write_secret
from shared import audit
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.settings import Settings
from shared.tables.notices import NoticeEndpoint

BOTH_VALID = timedelta(hours=24)
"""So long after a rotation messages are signed by the former secret too."""

_DUE_NOW = text(
    "UPDATE notice_deliveries SET next_attempt_at = :now, attempts = 0"
    " WHERE endpoint_id = :endpoint AND state = 'waiting'"
)
_GIVE_UP = text(
    "UPDATE notice_deliveries SET state = 'dead', last_answer = 'the endpoint was removed'"
    " WHERE endpoint_id = :endpoint AND state = 'waiting'"
)


async def add_endpoint(
    session: AsyncSession,
    settings: Settings,
    url: str,
    *,
    types: Sequence[str],
    description: str,
    actor: str,
    now: datetime,
) -> NoticeEndpoint:
    """Add an endpoint, told of what is put into the outbox from now on; its secret is in it.

    Without types a mailbox gets the alerts, and a URL all. Raises `InvalidInputError` for a
    type that there is not, e-mail without a server, or an address that is refused.
    """
    address = read_address(url, private=settings.webhook_private_addresses)
    is_mail = isinstance(address, Mailbox)
    if is_mail and not settings.smtp_url:
        raise InvalidInputError("there is no mail server; set TALLYBOOK_SMTP_URL first")
    for one in types:
        if one not in TYPES:
            raise InvalidInputError(f"there is no type {one!r}; the types: {', '.join(TYPES)}")
    endpoint = NoticeEndpoint(
        id=f"ep_{secrets.token_hex(6)}",
        url=url,
        types=sorted(set(types)) or (list(ALERTS) if is_mail else []),
        description=description,
        state="enabled",
        secret=None if is_mail else _new_secret(),
        created_at=now,
        changed_at=now,
    )
    session.add(endpoint)
    await _record(session, endpoint, "webhook.add", actor)
    await session.commit()
    return endpoint


async def list_endpoints(session: AsyncSession) -> Sequence[NoticeEndpoint]:
    """Give all endpoints but the removed ones, the oldest first."""
    query = (
        select(NoticeEndpoint)
        .where(NoticeEndpoint.state != "removed")
        .order_by(col(NoticeEndpoint.created_at), NoticeEndpoint.id)
    )
    return (await session.execute(query)).scalars().all()


async def get_endpoint(
    session: AsyncSession, endpoint_id: str, *, for_update: bool = False
) -> NoticeEndpoint:
    """Give an endpoint that is not removed, locked if so asked, or raise `NotFoundError`."""
    endpoint = await session.get(NoticeEndpoint, endpoint_id, with_for_update=for_update or None)
    if endpoint is None or endpoint.state == "removed":
        raise NotFoundError(f"there is no endpoint {endpoint_id!r}; see: webhooks list")
    return endpoint


async def remove_endpoint(
    session: AsyncSession, endpoint_id: str, *, actor: str, now: datetime
) -> NoticeEndpoint:
    """Remove an endpoint; forget its secret, and of its URL all that may be one.

    What waits for it becomes dead letters.
    """
    endpoint = await get_endpoint(session, endpoint_id, for_update=True)
    before = endpoint.state
    endpoint.state = "removed"
    endpoint.disabled_because = None
    _forget_secrets(endpoint)
    endpoint.changed_at = now
    await session.flush()
    await session.execute(_GIVE_UP, {"endpoint": endpoint_id})
    await _record(session, endpoint, "webhook.remove", actor, before=before)
    await session.commit()
    return endpoint


async def enable_endpoint(
    session: AsyncSession, endpoint_id: str, *, actor: str, now: datetime
) -> NoticeEndpoint:
    """Tell an endpoint again; what waits for it is due at once. Safe to repeat."""
    endpoint = await get_endpoint(session, endpoint_id, for_update=True)
    if endpoint.state == "enabled":
        return endpoint
    why = endpoint.disabled_because
    endpoint.state = "enabled"
    endpoint.disabled_because = None
    endpoint.changed_at = now
    await session.flush()
    await session.execute(_DUE_NOW, {"endpoint": endpoint_id, "now": now})
    await _record(session, endpoint, "webhook.enable", actor, before="disabled", why=why)
    await session.commit()
    return endpoint


async def disable_endpoint(
    session: AsyncSession, endpoint_id: str, *, why: str, actor: str, now: datetime
) -> NoticeEndpoint:
    """Leave an endpoint alone until it is enabled again; what it is to be told waits."""
    if not why.strip():
        raise InvalidInputError(f"say why {endpoint_id} is disabled")
    endpoint = await get_endpoint(session, endpoint_id, for_update=True)
    if endpoint.state == "disabled":
        return endpoint
    endpoint.state = "disabled"
    endpoint.disabled_because = why
    endpoint.changed_at = now
    await _record(session, endpoint, "webhook.disable", actor, before="enabled", why=why)
    await session.commit()
    return endpoint


async def rotate_secret(
    session: AsyncSession, endpoint_id: str, *, actor: str, now: datetime
) -> NoticeEndpoint:
    """Give an endpoint a new secret, which is in it; for a day the former one signs too."""
    endpoint = await get_endpoint(session, endpoint_id, for_update=True)
    if endpoint.secret is None:
        raise ConflictingStateError(f"{endpoint_id} is a mailbox: nothing is signed for it")
    endpoint.former_secret = endpoint.secret
    endpoint.former_until = now + BOTH_VALID
    endpoint.secret = _new_secret()
    endpoint.changed_at = now
    await _record(session, endpoint, "webhook.rotate", actor)
    await session.commit()
    return endpoint


def secrets_in_force(endpoint: NoticeEndpoint, now: datetime) -> tuple[str, ...]:
    """Give what messages are signed by: for a day after a rotation the former secret too."""
    signs_too = endpoint.former_until is not None and now < endpoint.former_until
    found = (endpoint.secret, endpoint.former_secret if signs_too else None)
    return tuple(one for one in found if one is not None)


def _new_secret() -> str:
    return write_secret(secrets.token_bytes(SECRET_BYTES))


def _forget_secrets(endpoint: NoticeEndpoint) -> None:
    endpoint.secret = None
    endpoint.former_secret = None
    endpoint.former_until = None
    endpoint.url = without_path(endpoint.url)


async def _record(
    session: AsyncSession,
    endpoint: NoticeEndpoint,
    act: str,
    actor: str,
    *,
    before: str | None = None,
    why: str | None = None,
) -> None:
    """Write an audit entry, which every service may read."""
    after = {
        "url": without_path(endpoint.url),
        "types": endpoint.types,
        "state": endpoint.state,
    }
    await audit.record(
        session,
        actor=actor,
        act=act,
        subject=endpoint.id,
        before=None if before is None else {"state": before},
        after=after if why is None else {**after, "why": why},
    )
