"""Connections to Postgres, each in the role of the service that opens it.

Every service works under its own role (`tallybook_ingest`, `tallybook_rater`,
`tallybook_invoicer`), so that Postgres itself refuses a write to another's table.
"""

from typing import Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from shared.settings import Settings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Role = Literal["tallybook_ingest", "tallybook_rater", "tallybook_invoicer"]

POSTING_LOCK = 7_203_001
"""Advisory lock: held shared by whoever posts line items, exclusively by whoever changes
the rules (a contract, the catalogue) or closes a period. So no posting can land between."""

TRANSIENT = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.TooManyConnectionsError,
)
"""Faults after which the same transaction may be tried again."""


async def open_pool(settings: Settings, role: Role, *, size: int = 8) -> Pool:
    """Open a pool of plain asyncpg connections in the role of a service."""
    return await asyncpg.create_pool(
        settings.postgres(),
        min_size=1,
        max_size=size,
        command_timeout=300,
        server_settings={"role": role, "application_name": role, "timezone": "UTC"},
    )


def open_engine(settings: Settings, role: Role | None = None) -> AsyncEngine:
    """Open an SQLAlchemy engine; without a role it works as the login itself (migrations)."""
    server_settings = {"timezone": "UTC", "application_name": role or "tallybook"}
    if role is not None:
        server_settings["role"] = role

    # The address goes to asyncpg as it is: SQLAlchemy knows no `sslmode` and the like.
    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(settings.postgres(), server_settings=server_settings)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=40,
        max_overflow=10,
        pool_pre_ping=True,
        hide_parameters=True,  # in the messages of its errors
    )


async def asyncpg_connection(session: AsyncSession) -> Connection:
    """Give the asyncpg connection below a session, within the session's transaction.

    The session must have executed something already, or there is no transaction yet.
    """
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert isinstance(driver, asyncpg.Connection)
    return driver
