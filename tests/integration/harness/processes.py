"""A part of Tallybook as a process of its own. I/O: processes, their logs, health checks."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LAST_LINES = 60


class ProcessEndedError(Exception):
    """A process ended, or did not become ready, where it should run; holds its log's end."""


class ServiceProcess:
    """A process that answers HTTP, and its log."""

    def __init__(self, name: str, url: str, log: Path, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.url = url
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    async def ready(self, *, seconds: float = _READY_SECONDS) -> None:
        """Wait until it says that it is ready; raise `ProcessEndedError` if it never does."""
        try:
            async with asyncio.timeout(seconds), httpx.AsyncClient(timeout=5) as http:
                while not await _is_ready(http, self.url):
                    if self.status is not None:
                        raise ProcessEndedError(
                            f"{self.name} ended with status {self.status}:\n{self.last_lines()}"
                        )
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ProcessEndedError(
                f"{self.name} is not ready after {seconds:g} s:\n{self.last_lines()}"
            ) from None

    async def ended(self, *, seconds: float = 30) -> int:
        """Wait until it ends by itself; gives its status."""
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """End it with SIGTERM, and with SIGKILL where that is not heeded; gives its status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.status is None:
            os.kill(self.pid, number)

    def log_text(self) -> str:
        """Give all that it wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def says(self, text: str, *, seconds: float = 60) -> None:
        """Wait until its log holds a text; raise `ProcessEndedError` if it never does."""
        try:
            async with asyncio.timeout(seconds):
                while text not in self.log_text():
                    if self.status is not None:
                        raise ProcessEndedError(
                            f"{self.name} ended with status {self.status} and has not said"
                            f" {text!r}:\n{self.last_lines()}"
                        )
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ProcessEndedError(
                f"{self.name} has not said {text!r} after {seconds:g} s:\n{self.last_lines()}"
            ) from None

    def last_lines(self) -> str:
        """Give the end of what it wrote."""
        return "\n".join(self.log_text().splitlines()[-_LAST_LINES:])


async def start_process(
    name: str,
    arguments: Sequence[str],
    *,
    url: str,
    log: Path,
    environment: Mapping[str, str],
) -> ServiceProcess:
    """Start Python with arguments; see `start_program`."""
    command = [sys.executable, *arguments]
    return await start_program(name, command, url=url, log=log, environment=environment)


async def start_program(
    name: str,
    command: Sequence[str],
    *,
    url: str,
    log: Path,
    environment: Mapping[str, str],
) -> ServiceProcess:
    """Start a program, named by its path, tied to this process: it cannot outlive the tests."""
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "infra.local.child",
            str(os.getpid()),
            "",
            *command,
            env=environment,
            cwd=log.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return ServiceProcess(name, url, log, process)


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/health/ready")).is_success
    except httpx.HTTPError:
        return False
