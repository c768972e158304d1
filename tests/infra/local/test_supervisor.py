"""The supervisor starts, stops and restarts children, and leaves none behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from infra.local.errors import ChildDiedError, DirectoryInUseError
from infra.local.supervisor import Program, Supervisor

_SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def _program(
    name: str,
    directory: Path,
    code: str = _SLEEP,
    *,
    arguments: Sequence[str] = (),
    ready_seconds: float = 20.0,
) -> Program:
    """A program that runs some Python, ready as soon as it has written to its log."""
    log = directory / "logs" / f"{name}.log"

    async def ready() -> bool:
        return "up" in log.read_text()  # a few bytes

    command = [sys.executable, "-c", code, *arguments]
    return Program(name, command, ready, {}, ready_seconds=ready_seconds)


async def _gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while _runs(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_child_runs_until_the_supervisor_ends(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        pid = await supervisor.start(_program("one", tmp_path))
        assert supervisor.pids == {"one": pid}
        assert _runs(pid)
    assert not _runs(pid)


async def test_children_are_stopped_also_when_the_work_fails(tmp_path: Path) -> None:
    pids: list[int] = []

    async def work() -> None:
        async with Supervisor(tmp_path) as supervisor:
            pids.append(await supervisor.start(_program("one", tmp_path)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert not _runs(pids[0])


async def test_a_cancellation_during_the_stop_leaves_no_child_behind(tmp_path: Path) -> None:
    """As a second Ctrl-C would: the child takes its time, and is waited for all the same."""
    slow = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))\n" + _SLEEP
    )
    pids: list[int] = []

    async def work() -> None:
        async with Supervisor(tmp_path) as supervisor:
            pids.append(await supervisor.start(_program("slow", tmp_path, slow)))
            await asyncio.sleep(600)

    task = asyncio.create_task(work())
    async with asyncio.timeout(20):
        while not pids:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not _runs(pids[0])


async def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, 'up', flush=True); time.sleep(600)"
    )
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(_program("parent", tmp_path, code))
        grandchild = int((tmp_path / "logs" / "parent.log").read_text().split()[0])
        assert _runs(grandchild)
    await _gone(grandchild)


async def test_a_child_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        broken = _program("broken", tmp_path, "raise SystemExit('no such thing')")
        with pytest.raises(ChildDiedError, match=r"broken ended with status 1.*no such thing"):
            await supervisor.start(broken)


async def test_a_child_that_never_is_ready_is_reported_and_stopped(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        mute = _program("mute", tmp_path, "import time; time.sleep(600)", ready_seconds=0.3)
        with pytest.raises(ChildDiedError, match="mute did not become ready in time"):
            await supervisor.start(mute)
        (pid,) = supervisor.pids.values()
    assert not _runs(pid)


async def test_a_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    async with Supervisor(tmp_path) as supervisor:
        first = await supervisor.start(_program("one", tmp_path))
        watching = asyncio.create_task(supervisor.watch(said.append))
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while len(said) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert supervisor.pids["one"] != first
        assert "ended with status -9" in said[0]
        watching.cancel()


async def test_a_child_that_keeps_ending_is_given_up(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(_program("brief", tmp_path, "print('up', flush=True)"))
        with pytest.raises(ChildDiedError, match="brief ended with status 0"):
            async with asyncio.timeout(30):
                await supervisor.watch()


async def test_a_directory_belongs_to_one_supervisor(tmp_path: Path) -> None:
    async with Supervisor(tmp_path):
        with pytest.raises(DirectoryInUseError, match="another tallybook runs"):
            async with Supervisor(tmp_path):
                pass
    async with Supervisor(tmp_path):
        pass


async def test_children_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from infra.local.supervisor import Supervisor\n"
        "from tests.infra.local.test_supervisor import _program\n"
        "async def main():\n"
        "    directory = Path(sys.argv[1])\n"
        "    async with Supervisor(directory) as supervisor:\n"
        "        print(await supervisor.start(_program('one', directory)), flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[3]
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    try:
        assert process.stdout is not None
        child = int(await asyncio.to_thread(process.stdout.readline))
        assert _runs(child)
    finally:
        process.kill()
        process.wait()
    await _gone(child)
    async with Supervisor(tmp_path) as next_one:
        assert next_one.pids == {}


async def test_what_survived_an_earlier_run_is_ended_and_nothing_else(tmp_path: Path) -> None:
    """Only a process that is of this directory: a number may be another's by now."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    ours = subprocess.Popen([*sleep, str(tmp_path / "data")])  # noqa: ASYNC220
    strangers = subprocess.Popen(sleep)  # noqa: ASYNC220
    try:
        (tmp_path / "pids.json").write_text(json.dumps([ours.pid, strangers.pid, 2**22 + 1]))
        async with Supervisor(tmp_path):
            assert not _runs(ours.pid)
            assert strangers.poll() is None
    finally:
        for process in (ours, strangers):
            process.kill()
            process.wait()


def test_a_child_whose_parent_is_gone_does_not_start(tmp_path: Path) -> None:
    """The tie to the parent may come too late: then the child ends by itself."""
    mark = tmp_path / "started"
    code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "infra.local.child", "1", "", sys.executable, "-c", code],
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert not mark.exists()
    assert time.monotonic() - started < 20
