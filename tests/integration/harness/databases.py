"""Fresh databases for tests. I/O: Postgres."""

import os

import asyncpg

from infra.migrations.migrate import migrate
from tests.integration.harness.settings import settings_for


class Databases:
    """Fresh, migrated databases: each is a copy of one that was migrated once."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url
        self._template = f"tallybook_template_{os.urandom(4).hex()}"

    async def __aenter__(self) -> "Databases":
        await self._admin(f"CREATE DATABASE {self._template}")
        await migrate(settings_for(self.url(self._template), "unused:1", "unused"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin(f"DROP DATABASE {self._template} WITH (FORCE)")

    def url(self, name: str) -> str:
        """Give a database's address."""
        return f"{self._admin_url.rpartition('/')[0]}/{name}"

    async def make(self, name: str) -> str:
        """Make a database; gives its address."""
        await self._admin(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    async def drop(self, name: str) -> None:
        """Drop a database, whoever still uses it."""
        await self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _admin(self, statement: str) -> None:
        connection = await asyncpg.connect(self._admin_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
