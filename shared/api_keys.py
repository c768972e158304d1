"""API keys: 256 random bits, shown once, of which the database holds only a hash.

A `KeyRing` answers from memory; it reads the table again every few seconds, so that a new
or revoked key takes effect within that time without a database read on every request.
"""

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
from fastapi import Header

from shared.database import TRANSIENT
from shared.errors import TallybookError

SEND_EVENTS = "events:write"
READ_EVENTS = "events:read"
FINANCE = "finance"
SCOPES = (SEND_EVENTS, READ_EVENTS, FINANCE)
REFRESH_SECONDS = 2.0


class UnauthorizedError(TallybookError):
    """No key, or none that is in force."""

    code = "unauthorized"
    status = 401
    exit_status = 2


class ForbiddenError(TallybookError):
    """The key is in force, but is not for this."""

    code = "forbidden"
    status = 403


@dataclass(frozen=True, slots=True)
class Key:
    """What a key allows; `source` None and `customers` empty mean any."""

    id: str
    source: str | None
    customers: frozenset[str]
    scopes: frozenset[str]
    expires_at: datetime | None

    def in_force(self, now: datetime) -> bool:
        """Tell whether the key has not expired at `now`."""
        return self.expires_at is None or now < self.expires_at


def new_secret() -> str:
    """Make a key's secret: the prefix lets scanners of leaked secrets recognise it."""
    return f"tbk_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> bytes:
    """Hash a secret for the database; with 256 random bits no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


class KeyRing:
    """The keys in force, read from the database in the background."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._keys: dict[bytes, Key] = {}
        self._read_at = 0.0
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the keys once and start to read them again every few seconds."""
        await self._read()
        self._task = asyncio.create_task(self._keep_reading())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def authenticate(self, authorization: str | None, scope: str) -> Key:
        """Give the key of an `Authorization: Bearer` header, or raise what to answer."""
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise UnauthorizedError("send the API key in the header: Authorization: Bearer KEY")
        digest = secret_hash(secret.strip())
        key = self._keys.get(digest)
        if key is None and time.monotonic() - self._read_at > 0.2:
            await self._read()
            key = self._keys.get(digest)
        if key is None or not key.in_force(datetime.now(UTC)):
            raise UnauthorizedError("this API key is unknown, expired or revoked")
        if scope not in key.scopes:
            raise ForbiddenError(f"API key {key.id} lacks the scope {scope}")
        return key

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._read()
            except TRANSIENT:
                # The last known keys stay in force until the database is back.
                continue

    async def _read(self) -> None:
        async with self._reading:
            rows = await self._pool.fetch(
                "SELECT id, secret_sha256, source, customers, scopes, expires_at"
                " FROM api_keys WHERE revoked_at IS NULL"
            )
            self._keys = {
                row["secret_sha256"]: Key(
                    row["id"],
                    row["source"],
                    frozenset(row["customers"]),
                    frozenset(row["scopes"]),
                    row["expires_at"],
                )
                for row in rows
            }
            self._read_at = time.monotonic()


class RequireScope:
    """A FastAPI dependency: the request's key, which must have the scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.ring: KeyRing | None = None

    async def __call__(self, authorization: Annotated[str | None, Header()] = None) -> Key:
        """Authenticate the request."""
        if self.ring is None:
            raise UnauthorizedError("this service is still starting; try again in a moment")
        return await self.ring.authenticate(authorization, self.scope)
