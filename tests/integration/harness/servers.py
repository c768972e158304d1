"""The Postgres and Kafka that the tests run on. I/O: processes, containers, or neither.

``TALLYBOOK_TEST_STACK`` says which: ``embedded`` (the default), ``containers``, or ``urls``
for servers that are there already. None is ever mocked, and one that cannot be had is an
error that says why, never a skipped test.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from infra.local import postgres
from infra.local.errors import StackError
from infra.local.stack import EmbeddedStack

VARIABLE = "TALLYBOOK_TEST_STACK"
_OUTAGE_SECONDS = 2.0


class ServersError(Exception):
    """The servers that the tests were told to use cannot be had; the message says why."""


class Servers(Protocol):
    """What the tests need of the servers, wherever they run."""

    @property
    def database_url(self) -> str:
        """Address of a database of a superuser, in the form that asyncpg reads."""

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap servers."""

    async def restart_postgres(self, database: str) -> None:
        """Take Postgres away from the users of a database for a moment, as a crash would.

        It answers again when this returns.
        """


class EmbeddedServers:
    """The embedded stack on a temporary directory."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.stack = stack

    @property
    def database_url(self) -> str:
        """Address of the stack's own database."""
        return self.stack.urls.database_url

    @property
    def kafka(self) -> str:
        """Kafka's address."""
        return self.stack.urls.kafka

    async def restart_postgres(self, database: str) -> None:
        """End all of Postgres at once, without a checkpoint, and start it again."""
        await self.stack.supervisor.kill("postgres", signal.SIGQUIT)
        program, _ = await postgres.prepare(self.stack.directory, self.stack.ports["postgres"])
        await self.stack.supervisor.start(program)


class NamedServers:
    """Servers that are there already, named in the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.database_url = _named(environment, "TALLYBOOK_DATABASE_URL")
        self.kafka = _named(environment, "TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS")

    async def restart_postgres(self, database: str) -> None:
        """End every connection to a database, new ones too, for two seconds.

        A server that others may use cannot be stopped; to a client this looks the same.
        """
        async with asyncio.timeout(30):
            connection = await asyncpg.connect(self.database_url)
            try:
                for _ in range(int(_OUTAGE_SECONDS / 0.02)):
                    await connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = $1 AND pid <> pg_backend_pid()",
                        database,
                    )
                    await asyncio.sleep(0.02)
            finally:
                await connection.close()


def _named(environment: Mapping[str, str], variable: str) -> str:
    value = environment.get(variable)
    if not value:
        raise ServersError(f"{VARIABLE}=urls needs {variable} in the environment")
    return value


@contextlib.asynccontextmanager
async def running_servers(
    environment: Mapping[str, str], directory: Path
) -> AsyncIterator[Servers]:
    """Have the servers that the environment asks for; raise `ServersError` if that fails."""
    kind = environment.get(VARIABLE) or "embedded"
    async with contextlib.AsyncExitStack() as held:
        if kind == "embedded":
            servers: Servers = EmbeddedServers(await _embedded(held, directory))
        elif kind == "containers":
            # Imported here: the library looks for a Docker engine as soon as it is used.
            from tests.integration.harness.containers import running_containers

            servers = await held.enter_async_context(running_containers())
        elif kind == "urls":
            servers = NamedServers(environment)
        else:
            raise ServersError(f"{VARIABLE}={kind} is not known; use embedded, containers or urls")
        await _check_postgres(servers.database_url)
        await _check_kafka(servers.kafka)
        yield servers


async def _embedded(held: contextlib.AsyncExitStack, directory: Path) -> EmbeddedStack:
    try:
        return await held.enter_async_context(EmbeddedStack(directory))
    except StackError as error:
        raise ServersError(f"the embedded stack does not start: {error}") from None


async def _check_postgres(url: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=20)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise ServersError(f"Postgres does not answer: {error!r}") from None
    await connection.close()


async def _check_kafka(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=20_000)
    try:
        await admin.start()
        await admin.list_topics()
    except (KafkaError, OSError) as error:
        raise ServersError(f"Kafka does not answer at {address}: {error!r}") from None
    finally:
        await admin.close()
