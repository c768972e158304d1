"""`tallybook events send`: every line has a verdict, and an interruption loses and doubles none."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import Event, executions
from tests.integration.harness.ports import free_port
from tests.integration.harness.world import World


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.start("ingest")
        yield made


def write(path: Path, events: Iterable[Event]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    return path


async def start(world: World, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.cli", "events", "send"),
        *arguments,
        env={**world.environment, **variables},
        cwd=world.directory,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def send(
    world: World, *arguments: str, text: bytes = b"", **variables: str
) -> tuple[int, str, str]:
    process = await start(world, *arguments, **variables)
    async with asyncio.timeout(60):
        out, err = await process.communicate(text)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def ids_on_log(world: World) -> set[str]:
    return {msgspec.json.decode(record.value or b"")["id"] for record in await world.log_records()}


async def test_every_line_is_sent_and_the_verdicts_are_counted(
    world: World, tmp_path: Path
) -> None:
    events = executions("ada", 1234, period=world.period, prefix="all-")
    file = write(tmp_path / "events.ndjson", [*events[:900], events[899], *events[900:]])
    status, out, err = await send(world, str(file), "--batch", "100", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert answer == {
        "lines": 1235,
        "accepted": answer["accepted"],
        "duplicate": 1235 - answer["accepted"],
        "rejected": 0,
        "rejected_by_code": {},
        "resumed_after_line": None,
    }
    assert answer["accepted"] >= 1234
    assert {event["id"] for event in events} <= await ids_on_log(world)
    assert not Path(f"{file}.progress").exists()  # noqa: ASYNC240


async def test_rejected_lines_are_named_and_the_others_go_on(world: World, tmp_path: Path) -> None:
    good = executions("ada", 3, period=world.period, prefix="some-")
    old = {
        **executions("ada", 1, period=world.period, prefix="old-")[0],
        "time": "2001-01-01T00:00:00Z",
    }
    lines = [
        msgspec.json.encode(good[0]),
        b"no json {",
        b"",
        msgspec.json.encode(old),
        msgspec.json.encode(good[1]) + b"," + msgspec.json.encode(good[1]),
        msgspec.json.encode({**good[1], "data": "x" * 1_100_000}),
        msgspec.json.encode({**good[2], "data": "x" * 70_000}),
        msgspec.json.encode(good[1]),
        msgspec.json.encode(good[2]),
    ]
    file = tmp_path / "mixed.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    status, out, err = await send(world, str(file))
    assert status == 1
    assert out.startswith("9 lines: 3 accepted, 0 duplicate, 5 rejected (invalid_json 2, too_")
    told = [line.split(": ")[:2] for line in err.splitlines()]
    assert told == [
        ["line 2", "invalid_json"],
        ["line 4", "too_old at /time"],
        ["line 5", "invalid_json"],
        ["line 6", "too_large"],
        ["line 7", "too_large"],
    ]
    assert {event["id"] for event in good} <= await ids_on_log(world)

    report = tmp_path / "rejected.ndjson"
    status, out, err = await send(world, str(file), "--rejected", str(report), "--json")
    assert (status, err) == (1, "")
    rows = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    assert [(row["line"], row["code"], row["pointer"]) for row in rows][:2] == [
        (2, "invalid_json", None),
        (4, "too_old", "/time"),
    ]
    assert json.loads(out)["rejected_by_code"] == {"invalid_json": 2, "too_large": 2, "too_old": 1}


async def test_standard_input_and_an_empty_file(world: World, tmp_path: Path) -> None:
    (event,) = executions("ada", 1, period=world.period, prefix="stdin-")
    status, out, _ = await send(world, "-", "--json", text=msgspec.json.encode(event))
    assert (status, json.loads(out)["accepted"]) == (0, 1)
    assert event["id"] in await ids_on_log(world)
    status, out, _ = await send(world, str(write(tmp_path / "empty", [])), "--json")
    assert (status, json.loads(out)["lines"]) == (0, 0)


async def test_what_is_wrong_is_said_in_one_line(world: World, tmp_path: Path) -> None:
    file = str(write(tmp_path / "one", executions("ada", 1, period=world.period, prefix="one-")))
    nowhere = f"http://127.0.0.1:{free_port()}"
    cases: list[tuple[list[str], dict[str, str], str]] = [
        ([file], {"TALLYBOOK_PRODUCER_KEY": "tb_" + "wrong"}, "TALLYBOOK_PRODUCER_KEY"),
        ([file, "--patience", "0"], {"TALLYBOOK_INGEST_URL": nowhere}, "TALLYBOOK_INGEST_URL"),
        ([str(tmp_path / "missing")], {}, "cannot be read: No such file"),
        ([str(tmp_path)], {}, "cannot be read: Is a directory"),
    ]
    for arguments, variables, said in cases:
        status, out, err = await send(world, *arguments, text=b"", **variables)
        assert (status, out) == (2, ""), err
        assert said in err
        assert len(err.splitlines()) == 1
    environment = dict(world.environment)
    del environment["TALLYBOOK_PRODUCER_KEY"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.cli", "events", "send", file),
        env=environment,
        cwd=world.directory,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err_bytes = await process.communicate()
    assert process.returncode == 2
    assert b"set TALLYBOOK_PRODUCER_KEY" in err_bytes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_an_interrupted_file_is_gone_on_with(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    name = number.name.lower()
    events = executions("ada", 100_000, period=world.period, prefix=f"{name}-")
    file = write(tmp_path / "events.ndjson", events)
    place = tmp_path / "events.ndjson.progress"
    process = await start(world, str(file), "--batch", "100")
    async with asyncio.timeout(60):
        while not place.exists():
            assert process.returncode is None, "it was done before it could be interrupted"
            await asyncio.sleep(0.005)
    os.kill(process.pid, number)
    _, err = await process.communicate()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert b"run it again to go on" in err
    kept = json.loads(place.read_text())
    assert 0 < kept["lines"] < 100_000

    status, out, _ = await send(world, str(file), "--json")
    answer = json.loads(out)
    assert (status, answer["lines"], answer["accepted"]) == (0, 100_000, 100_000)
    assert answer["resumed_after_line"] == kept["lines"]
    assert {event["id"] for event in events} <= await ids_on_log(world)
    assert not place.exists()


async def test_a_changed_file_is_sent_from_its_start(world: World, tmp_path: Path) -> None:
    events = executions("ada", 10, period=world.period, prefix="changed-")
    file = write(tmp_path / "events.ndjson", events)
    place = tmp_path / "events.ndjson.progress"

    def keep(lines: int) -> None:
        status = file.stat()
        identity: dict[str, Any] = {
            "size": status.st_size,
            "modified_ns": status.st_mtime_ns,
            "inode": status.st_ino,
            "device": status.st_dev,
        }
        offset = sum(len(line) for line in file.read_bytes().splitlines(keepends=True)[:lines])
        document = {
            "file": identity,
            "offset": offset,
            "lines": lines,
            "counts": {"accepted": lines},
        }
        place.write_text(json.dumps(document))

    keep(4)
    _, out, err = await send(world, str(file), "--json")
    assert json.loads(out)["resumed_after_line"] == 4
    assert "going on after line 4" in err
    assert await ids_on_log(world) & {event["id"] for event in events} == {
        event["id"] for event in events[4:]
    }
    keep(4)
    _, out, _ = await send(world, str(file), "--json", "--from-start")
    assert (json.loads(out)["resumed_after_line"], json.loads(out)["accepted"]) == (None, 10)
    keep(4)
    write(file, [*events, *executions("ada", 1, period=world.period, prefix="more-")])
    _, out, err = await send(world, str(file), "--json")
    assert "has changed" in err
    assert json.loads(out)["accepted"] == 11
    place.write_text("torn {")
    _, out, _ = await send(world, str(file), "--json")
    assert json.loads(out)["accepted"] == 11
    assert not place.exists()
