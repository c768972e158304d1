"""The demo, small: every invoice as the price page expects, to the cent, and nothing lost."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any


async def _demo(directory: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli",
        "demo",
        "--json",
        "--data",
        str(directory / "data"),
        "--report",
        str(directory / "report.html"),
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, progress = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(answer or b"{}"), progress.decode()


async def test_the_whole_path_comes_out_right_and_can_be_repeated(own_directory: Path) -> None:
    status, first, progress = await _demo(own_directory, "--scale", "0.002")
    assert status == 0, (first, progress)
    assert first["right"]
    assert first["complaints"] == []
    assert len(first["rows"]) == 32
    assert all(row["expected"] == row["invoiced"] == row["stripe"] for row in first["rows"])
    assert (first["events"]["lost"], first["events"]["billed_twice"]) == (0, 0)
    assert "<html" in (own_directory / "report.html").read_text("utf-8")
    status, again, progress = await _demo(own_directory, "--scale", "0.002")
    assert status == 0, (again, progress)
    assert again["rows"] == first["rows"]
    assert again["events"]["rated"] == first["events"]["rated"]
    status, _, words = await _demo(own_directory, "--scale", "0.003")
    assert status == 2
    assert "choose another --data" in " ".join(words.split())
