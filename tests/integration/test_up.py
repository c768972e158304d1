"""`tallybook up`: goes on where it was stopped, however that was, and leaves nothing behind."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from shared.settings import SANDBOX_STRIPE_KEY
from tests.integration.harness.waiting import until

_READY_SECONDS = 90


@contextlib.asynccontextmanager
async def _up(directory: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    log = (directory.parent / "up.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        "up",
        "--data",
        str(directory),
        "--ready-file",
        str(directory.parent / "ready.json"),
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        log.close()


async def _ready(directory: Path, process: asyncio.subprocess.Process) -> dict[str, Any]:
    file = directory.parent / "ready.json"
    async with asyncio.timeout(_READY_SECONDS):
        while not file.exists():
            assert process.returncode is None, (directory.parent / "up.log").read_text("utf-8")
            await asyncio.sleep(0.1)
    assert file.stat().st_mode & 0o077 == 0
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document


async def _gone(pids: list[int]) -> None:
    for _ in range(300):
        if not any(_runs(pid) for pid in pids):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"still running: {[pid for pid in pids if _runs(pid)]}")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _family(pids: dict[str, int]) -> list[int]:
    """Name all processes below the ones of the ready file, Postgres' workers too."""
    found = []
    for pid in pids.values():
        found += [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return found


async def _add_customer(ready: dict[str, Any], customer: str) -> None:
    headers = {"Authorization": f"Bearer {ready['finance_key']}"}
    body = {"id": customer, "name": customer, "email": f"{customer}@example.com"}
    async with httpx.AsyncClient(base_url=ready["rater_url"], headers=headers) as rater:
        (await rater.post("/v1/customers", json=body)).raise_for_status()


async def _customers(ready: dict[str, Any]) -> list[str]:
    headers = {"Authorization": f"Bearer {ready['finance_key']}"}
    async with httpx.AsyncClient(base_url=ready["rater_url"], headers=headers) as rater:
        answer = await rater.get("/v1/customers")
    return [customer["id"] for customer in answer.json()["customers"]]


async def test_it_goes_on_after_a_stop_and_after_kill_9_and_leaves_nothing(
    own_directory: Path,
) -> None:
    directory = own_directory / "data"
    async with _up(directory) as process:
        first = await _ready(directory, process)
        assert set(first["pids"]) == {"postgres", "kafka", "stripe", "ingest", "rater", "invoicer"}
        await _add_customer(first, "ada")
        family = _family(first["pids"])
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await _gone(family)
    (own_directory / "ready.json").unlink()
    async with _up(directory) as process:
        second = await _ready(directory, process)
        assert await _customers(second) == ["ada"]
        assert second["producer_key"] == first["producer_key"]
        await _add_customer(second, "bob")
        family = _family(second["pids"])
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        await _gone(family)
        assert not (own_directory / "ready.json").exists()
    async with _up(directory) as process:
        third = await _ready(directory, process)
        assert await _customers(third) == ["ada", "bob"]
        await _the_sandbox_tells_the_invoicer(third)
        await _another_on_the_same_directory_is_refused(directory)
        await _what_dies_is_started_again(directory, third)


async def _the_sandbox_tells_the_invoicer(ready: dict[str, Any]) -> None:
    """Something is paid at the sandbox, and the message of it comes in, signed as it should be."""
    headers = {"Authorization": f"Bearer {SANDBOX_STRIPE_KEY}"}
    async with httpx.AsyncClient(base_url=ready["stripe_url"], headers=headers) as stripe:

        async def post(path: str, **form: str) -> str:
            made = (await stripe.post(path, data=form)).raise_for_status().json()
            return str(made["id"])

        customer = await post("/v1/customers", name="ada")
        invoice = await post("/v1/invoices", customer=customer)
        line = {"lines[0][amount]": "100"}
        await post(f"/v1/invoices/{invoice}/add_lines", **line)
        await post(f"/v1/invoices/{invoice}/finalize")
        await post(f"/v1/invoices/{invoice}/pay", paid_out_of_band="true")
    connection = await asyncpg.connect(ready["database_url"])
    try:
        query = "SELECT listed_at IS NULL FROM stripe_events WHERE object_id = $1"

        async def has_heard() -> bool:
            return await connection.fetchval(query, invoice) is not None

        await until(has_heard)
        assert await connection.fetchval(query, invoice), "the invoicer found it by asking"
    finally:
        await connection.close()


async def _another_on_the_same_directory_is_refused(directory: Path) -> None:
    process = await _run("up", "--data", str(directory))
    assert process.returncode == 2
    assert "another tallybook runs on" in await _words(process)


async def _what_dies_is_started_again(directory: Path, ready: dict[str, Any]) -> None:
    os.kill(ready["pids"]["rater"], signal.SIGKILL)
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(0.2)
            now = json.loads((directory.parent / "ready.json").read_text("utf-8"))
            if now["pids"].get("rater", ready["pids"]["rater"]) != ready["pids"]["rater"]:
                break
    assert await _customers(ready) == ["ada", "bob"]


async def test_a_stop_while_it_starts_leaves_nothing(own_directory: Path) -> None:
    directory = own_directory / "data"
    for seconds in (0.7, 2.0, 4.0):
        async with _up(directory) as process:
            await asyncio.sleep(seconds)
            children = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
            process.send_signal(signal.SIGINT)
            await process.wait()
            await _gone(children)


async def test_a_port_in_use_is_reported_by_name(own_directory: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = await _run(
            "up", "--data", str(own_directory / "data"), "--port-base", str(min(port, 65_000))
        )
    words = await _words(process)
    assert process.returncode == 2
    assert f"port {port}, wanted for ingest, is in use" in words
    assert "Traceback" not in words


async def _run(*arguments: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    await process.wait()
    return process


async def _words(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return " ".join((await process.stdout.read()).decode().split())
