"""The embedded stack: Postgres, Kafka and the Stripe sandbox under one supervisor."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx

from infra.local import kafka, postgres
from infra.local.ports import choose_ports
from infra.local.supervisor import Program, Supervisor

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StackUrls:
    """Where the parts of the stack answer."""

    database_url: str
    kafka: str
    stripe_url: str


class EmbeddedStack:
    """Starts the stack on a data directory and stops it; use it as an async context manager.

    What the parts keep in the directory outlives them: the next stack on it goes on. The
    supervisor may be given further programs, which are stopped before the stack is.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port_base: int | None = None,
        on_progress: Progress = lambda _text: None,
    ) -> None:
        self.directory = directory.expanduser().resolve()
        self.supervisor = Supervisor(self.directory)
        self.ports: dict[str, int] = {}
        self._port_base = port_base
        self._on_progress = on_progress
        self._urls: StackUrls | None = None

    @property
    def urls(self) -> StackUrls:
        """Where the parts answer; only while the stack runs."""
        assert self._urls is not None, "the stack is not started"
        return self._urls

    async def __aenter__(self) -> "EmbeddedStack":
        await self.supervisor.__aenter__()
        try:
            self.ports = choose_ports(self.directory, self._port_base)
            database_url, kafka_address, stripe_url = await self._start()
        except BaseException:
            await self.supervisor.__aexit__(None, None, None)
            raise
        self._urls = StackUrls(database_url, kafka_address, stripe_url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.supervisor.__aexit__(kind, error, trace)

    async def _start(self) -> tuple[str, str, str]:
        """Start the three at once; if one fails the others are cancelled, then stopped."""
        try:
            async with asyncio.TaskGroup() as group:
                database = group.create_task(self._start_postgres())
                log = group.create_task(self._start_kafka())
                stripe = group.create_task(self._start_stripe())
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return database.result(), log.result(), stripe.result()

    async def _start_postgres(self) -> str:
        program, url = await postgres.prepare(self.directory, self.ports["postgres"])
        await self.supervisor.start(program)
        self._on_progress("Postgres is up")
        return url

    async def _start_kafka(self) -> str:
        program, address = await kafka.prepare(
            self.directory,
            self.ports["kafka"],
            self.ports["kafka_controller"],
            self._jar_progress,
        )
        await self.supervisor.start(program)
        self._on_progress("Kafka is up")
        return address

    def _jar_progress(self, done: int, total: int) -> None:
        if done == total or done % 10 == 0:
            self._on_progress(f"Kafka's jars: {done} of {total}")

    async def _start_stripe(self) -> str:
        port = self.ports["stripe"]
        url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "infra.stripe_sandbox",
            "--port",
            str(port),
            "--data",
            str(self.directory / "stripe.sqlite3"),
        ]
        program = Program("stripe", command, lambda: answers(f"{url}/health/ready"), {})
        await self.supervisor.start(program)
        self._on_progress("the Stripe sandbox is up")
        return url


async def answers(url: str) -> bool:
    """Tell whether an address answers with success."""
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False
