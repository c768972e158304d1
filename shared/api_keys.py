"""API keys: 256 random bits, shown once, of which the database holds only a hash.

A `KeyRing` answers from memory; it reads the table again every few seconds, so that a new
or revoked key takes effect within that time without a database read on every request. When
it does so, it writes down which keys were used meanwhile.
"""

import asyncio
import contextlib
import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import structlog
from fastapi import Header

from shared.database import TRANSIENT, Pool, Role, open_pool
from shared.errors import TallybookError, UnavailableError
from shared.keys import Key
from shared.settings import Settings

REFRESH_SECONDS = 2.0
_RETRY_SECONDS = 0.3
_LOOK_AGAIN_SECONDS = 0.2

log = structlog.get_logger("tallybook.keys")


class UnauthorizedError(TallybookError):
    """No key, or none that is in force."""

    code = "unauthorized"
    status = 401
    exit_status = 2


class ForbiddenError(TallybookError):
    """The key is in force, but is not for this."""

    code = "forbidden"
    status = 403


def new_secret() -> str:
    """Make a key's secret: the prefix lets scanners of leaked secrets recognise it."""
    return f"tbk_{secrets.token_urlsafe(32)}"


def secret_hash(secret: str) -> bytes:
    """Hash a secret for the database; with 256 random bits no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


class KeysUnknownError(UnavailableError):
    """The keys could not be read yet, so nobody can be let in."""

    code = "starting"

    def __init__(self) -> None:
        super().__init__("the API keys are not read yet; send the request again in a moment")


class KeyRing:
    """The keys in force, read from the database in the background; an async context manager.

    It opens at once, waits for Postgres as long as it takes, and keeps the last known keys in
    force while Postgres is away.
    """

    def __init__(self, settings: Settings, role: Role) -> None:
        self._settings = settings
        self._role: Role = role
        self._pool: Pool | None = None
        self._keys: dict[bytes, Key] = {}
        self._used: dict[str, datetime] = {}
        self._read_at = 0.0
        self._reading = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Tell whether the keys have been read."""
        return self._pool is not None

    async def __aenter__(self) -> "KeyRing":
        self._task = asyncio.create_task(self._keep_reading())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._pool is not None:
            self._pool.terminate()

    async def authenticate(self, authorization: str | None, scope: str) -> Key:
        """Give the key of an `Authorization: Bearer` header, or raise what to answer."""
        if self._pool is None:
            raise KeysUnknownError
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise UnauthorizedError("send the API key in the header: Authorization: Bearer KEY")
        digest = secret_hash(secret.strip())
        key = self._keys.get(digest) or await self._made_just_now(digest, self._pool)
        now = datetime.now(UTC)
        if key is None or not key.in_force(now):
            raise UnauthorizedError("this API key is unknown, expired or revoked")
        self._used[key.id] = now
        if scope not in key.scopes:
            raise ForbiddenError(f"API key {key.id} lacks the scope {scope}")
        return key

    async def _made_just_now(self, digest: bytes, pool: Pool) -> Key | None:
        """Look again for an unknown key, but not so often that strangers could load Postgres."""
        if time.monotonic() - self._read_at > _LOOK_AGAIN_SECONDS:
            with contextlib.suppress(*TRANSIENT):
                await self._read(pool)
        return self._keys.get(digest)

    async def _keep_reading(self) -> None:
        while True:
            try:
                pool = self._pool or await open_pool(self._settings, self._role, size=2)
                await self._read(pool)
                self._pool = pool
                await self._write_last_use(pool)
            except TRANSIENT as error:
                log.warning("waiting for Postgres to read the keys", error=type(error).__name__)
            except asyncpg.UndefinedTableError:
                log.warning("the database is not migrated; run: tallybook migrate")
            except Exception:
                # Whatever it was: a revoked key must not stay in force because of it.
                log.exception("the keys could not be read; trying again")
            await asyncio.sleep(REFRESH_SECONDS if self._pool is not None else _RETRY_SECONDS)

    async def _read(self, pool: Pool) -> None:
        async with self._reading:
            rows = await pool.fetch(
                "SELECT id, secret_sha256, scopes, sources, customers, event_types, expires_at,"
                " events_per_second FROM api_keys WHERE revoked_at IS NULL"
            )
            self._keys = {
                row["secret_sha256"]: Key(
                    id=row["id"],
                    scopes=frozenset(row["scopes"]),
                    sources=frozenset(row["sources"]),
                    customers=frozenset(row["customers"]),
                    event_types=frozenset(row["event_types"]),
                    expires_at=row["expires_at"],
                    events_per_second=row["events_per_second"],
                )
                for row in rows
            }
            self._read_at = time.monotonic()

    async def _write_last_use(self, pool: Pool) -> None:
        """Write down when keys were used; one whose row is locked now is left for the next time.

        To wait for a lock could keep a revoked key in force.
        """
        used, self._used = self._used, {}
        if not used:
            return
        written: set[str] = set()
        try:
            rows = await pool.fetch(
                "WITH free AS (SELECT id FROM api_keys WHERE id = ANY($1::text[])"
                " FOR NO KEY UPDATE SKIP LOCKED)"
                " UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, u.at)"
                " FROM unnest($1::text[], $2::timestamptz[]) AS u (id, at) JOIN free USING (id)"
                " WHERE k.id = u.id RETURNING k.id",
                list(used),
                list(used.values()),
            )
            written = {row["id"] for row in rows}
        finally:
            left = {key_id: at for key_id, at in used.items() if key_id not in written}
            self._used = {**left, **self._used}


class RequireScope:
    """A FastAPI dependency: the request's key, which must have the scope."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.ring: KeyRing | None = None

    async def __call__(self, authorization: Annotated[str | None, Header()] = None) -> Key:
        """Authenticate the request."""
        if self.ring is None:
            raise KeysUnknownError
        return await self.ring.authenticate(authorization, self.scope)
