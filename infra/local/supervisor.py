"""Starts, watches and stops child processes, and leaves none behind.

Each child is tied to this process (see `child`), so that even a kill -9 of it takes them
along. What still survived an earlier run is found by the pid file and stopped first.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

from infra.local.errors import ChildDiedError, DirectoryInUseError

Ready = Callable[[], Awaitable[bool]]

_GRACE_SECONDS = 20.0
_LAST_LINES = 8
_RESTARTS_A_MINUTE = 5


@dataclass(frozen=True, slots=True)
class Program:
    """How a child is started and stopped; `user` is another user to run as."""

    name: str
    command: Sequence[str]
    ready: Ready
    environment: Mapping[str, str]
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    ready_seconds: float = 60.0


@dataclass(slots=True)
class _Child:
    program: Program
    process: asyncio.subprocess.Process
    log: Path


class Supervisor:
    """The children that run on one data directory; use it as an async context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._children: dict[str, _Child] = {}
        self._pid_file = directory / "pids.json"
        self._lock: IO[str] | None = None
        self._stopping = False

    async def __aenter__(self) -> "Supervisor":
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "logs").mkdir(exist_ok=True)
        self._lock = (self.directory / "lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise DirectoryInUseError(self.directory) from None
        await asyncio.to_thread(self._stop_leftovers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not leave processes behind: the stop goes on to its end.
        stopping = asyncio.ensure_future(self.stop_all())
        while not stopping.done():
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                continue
        stopping.result()
        if self._lock is not None:
            self._lock.close()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the running children, by name."""
        return {
            name: child.process.pid
            for name, child in self._children.items()
            if child.process.returncode is None
        }

    async def start(self, program: Program) -> int:
        """Start a child and wait until it is ready; gives its process id."""
        log = self.directory / "logs" / f"{program.name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "infra.local.child",
                str(os.getpid()),
                program.user or "",
                *program.command,
                env={**os.environ, **program.environment},
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._children[program.name] = _Child(program, process, log)
        self._note_pids()
        deadline = time.monotonic() + program.ready_seconds
        while not await program.ready():
            if process.returncode is not None:
                raise ChildDiedError(program.name, process.returncode, log, _tail(log))
            if time.monotonic() > deadline:
                raise ChildDiedError(program.name, None, log, _tail(log))
            await asyncio.sleep(0.05)
        return process.pid

    async def stop(self, name: str) -> None:
        """Stop a child: its own signal first, SIGKILL after a grace time."""
        child = self._children.pop(name, None)
        if child is None:
            return
        process = child.process
        if process.returncode is None:
            _signal(process.pid, child.program.stop_signal)
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await process.wait()
            except TimeoutError:
                _signal(process.pid, signal.SIGKILL)
                await process.wait()
        # Whatever the child left of its own process group goes with it.
        _signal_group(process.pid)
        self._note_pids()

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a child a signal that ends it, as a fault would, and wait for its end."""
        child = self._children.pop(name)
        _signal(child.process.pid, number)
        await child.process.wait()
        _signal_group(child.process.pid)
        self._note_pids()

    async def stop_all(self) -> None:
        """Stop all children, those started last first."""
        self._stopping = True
        for name in reversed(list(self._children)):
            await self.stop(name)

    async def watch(self, on_restart: Callable[[str], None] = lambda _text: None) -> None:
        """Start again what ends by itself; return never.

        Raises `ChildDiedError` when a child keeps ending, or does not become ready again.
        """
        restarts: dict[str, list[float]] = {}
        while True:
            for name, child in list(self._children.items()):
                status = child.process.returncode
                if status is None or self._stopping:
                    continue
                recent = [at for at in restarts.get(name, []) if at > time.monotonic() - 60]
                if len(recent) >= _RESTARTS_A_MINUTE:
                    raise ChildDiedError(name, status, child.log, _tail(child.log))
                restarts[name] = [*recent, time.monotonic()]
                _signal_group(child.process.pid)
                on_restart(f"{name} ended with status {status}; starting it again")
                await self.start(child.program)
                on_restart(f"{name} is up again")
            await asyncio.sleep(0.2)

    def _note_pids(self) -> None:
        partial = self._pid_file.with_suffix(".partial")
        partial.write_text(json.dumps(list(self.pids.values())), encoding="utf-8")
        partial.replace(self._pid_file)

    def _stop_leftovers(self) -> None:
        """End processes of an earlier run on this directory, and only those."""
        try:
            pids = json.loads(self._pid_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        ours = []
        for pid in pids:
            try:
                process = psutil.Process(pid)
                family = [process, *process.children(recursive=True)]
                if any(str(self.directory) in " ".join(one.cmdline()) for one in family):
                    ours.extend(family)
            except psutil.Error:
                continue
        for process in ours:
            _signal(process.pid, signal.SIGKILL)
        psutil.wait_procs(ours, timeout=10)
        self._pid_file.unlink(missing_ok=True)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _tail(log: Path) -> str:
    """Give a log's last lines as one line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-_LAST_LINES:]) or "(nothing)"
