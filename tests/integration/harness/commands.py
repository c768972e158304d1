"""Runs commands of the command line against a world. I/O: processes, and what commands do."""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner, Result

from services.commands import command_line
from tests.integration.harness.world import World


@dataclass
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on standard output, which holds nothing else."""
        return json.loads(self.out)


async def tallybook(world: World, *arguments: str, given: str = "", **variables: str) -> Ran:
    """Run a command as people do, in a process of its own; `given` is its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.cli"),
        *arguments,
        env={**world.environment, **variables},
        cwd=world.directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(given.encode())
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def tallybook_here(world: World, *arguments: str, **variables: str) -> Result:
    """Run a command in this process, which is quicker; an error is its result's `exception`."""
    environment = {
        name: value for name, value in world.environment.items() if name.startswith("TALLYBOOK_")
    }
    return await asyncio.to_thread(
        CliRunner().invoke,
        command_line(arguments[0]),
        list(arguments),
        env={**environment, **variables},
    )
