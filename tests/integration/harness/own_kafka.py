"""A Kafka of one test's own, to be taken away. I/O: a process.

It is the embedded one whatever servers the other tests use: a shared Kafka cannot be frozen.
"""

import os
import resource
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local import kafka
from infra.local.supervisor import Supervisor
from tests.integration.harness.ports import free_port


class OwnKafka:
    """Kafka on its own directory, not started yet; use it as an async context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._supervisor = Supervisor(directory)
        self._port = free_port()
        self.controller_port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.data_directory = directory / "kafka" / "data"

    async def __aenter__(self) -> Self:
        await self._supervisor.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if "kafka" in self._supervisor.pids:
            self.thaw()
        await self._supervisor.__aexit__(kind, error, trace)

    async def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if "kafka" not in self._supervisor.pids:
            program, _ = await kafka.prepare(
                self._directory,
                self._port,
                self.controller_port,
                properties=self._properties(),
                format_options=self._format_options(),
            )
            await self._supervisor.start(program)

    async def stop(self) -> None:
        """Stop it; what it holds is there again after the next start."""
        await self._supervisor.stop("kafka")

    def _properties(self) -> Mapping[str, str]:
        """Give what of its properties is not as the embedded one's."""
        return {}

    def _format_options(self) -> Sequence[str]:
        """Give what its directory is made with, beside the usual."""
        return ()

    async def kill(self) -> None:
        """End it at once, as a fault would."""
        await self._supervisor.kill("kafka")

    @property
    def runs(self) -> bool:
        """Tell whether it has not ended."""
        return "kafka" in self._supervisor.pids

    def fill_disk(self, largest_file: int) -> None:
        """Let no file of its grow beyond so many bytes: writes fail, as on a disk that is full.

        It lasts until the next start.
        """
        pid = self._supervisor.pids["kafka"]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest_file, hard))

    def freeze(self) -> None:
        """Let it answer nothing more, its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self._supervisor.pids["kafka"], number)
