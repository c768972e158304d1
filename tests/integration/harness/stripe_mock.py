"""stripe-mock, Stripe's own stand-in for its API, built where Go is there. I/O: Go, a process.

It remembers nothing, but holds every request to the OpenAPI document that it carries.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from infra.local.cache import cache_directory
from tests.integration.harness.ports import free_port
from tests.integration.harness.processes import ServiceProcess, start_program

MODULE = "github.com/stripe/stripe-mock"
VERSION = "v0.203.0"
"""The one whose document is of the version of the API that the invoicer asks for. It refuses any
other version, so that the two are raised together."""

_BUILD_SECONDS = 270


class StripeMockError(Exception):
    """stripe-mock could not be built; the message says why, and what to do."""


def is_go_there() -> bool:
    """Tell whether stripe-mock can be built."""
    return shutil.which("go") is not None


def stripe_mock_program() -> Path:
    """Give the path of stripe-mock, built once and kept; raise `StripeMockError` where that fails.

    Go checks what it fetches as it is set up to do.
    """
    directory = cache_directory().resolve() / "stripe-mock"
    program = directory / f"stripe-mock-{VERSION}"
    if not program.exists():
        directory.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as workplace:
            _build(workplace)
            (Path(workplace) / "stripe-mock").replace(program)
    return program


def _build(into: str) -> None:
    try:
        ran = subprocess.run(
            ["go", "install", f"{MODULE}@{VERSION}"],
            env={**os.environ, "GOBIN": into},
            cwd=into,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"no end after {_BUILD_SECONDS} s"
    else:
        if ran.returncode == 0:
            return
        why = ran.stderr.strip()[-1000:]
    raise StripeMockError(
        f"go install {MODULE}@{VERSION} failed: {why}\n"
        "Check that Go reaches where it gets its modules, then start again; or take go off the"
        " PATH, to go without these tests"
    )


@contextlib.asynccontextmanager
async def running_stripe_mock(program: Path, directory: Path) -> AsyncIterator[ServiceProcess]:
    """Run stripe-mock on the loopback while the context is open; its log is in `directory`."""
    port = free_port()
    process = await start_program(
        "stripe-mock",
        [
            str(program),
            f"-http-addr=127.0.0.1:{port}",
            "-https-addr=127.0.0.1:0",  # unasked it would listen on every interface
            "-strict-version-check",
        ],
        url=f"http://127.0.0.1:{port}",
        log=directory / "stripe-mock.log",
        environment={},
    )
    try:
        await process.says("Listening for HTTPS")  # the last that it says before it answers
        yield process
    finally:
        await process.stop()
