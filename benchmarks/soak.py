"""``python -m benchmarks.soak``: many events through one ingest process; its memory must stay.

Batches of 100 over HTTP, acks=all, as fast as they are taken. Exits 1 where memory grew by
more than a tenth after the first part, or an event is not on the log.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.table import Table

from benchmarks import events as made
from benchmarks import steps
from infra.local.installation import Installation
from infra.local.up import run_until_stopped
from shared.broker import end_offsets
from shared.console import as_json, err, out
from shared.periods import Period

PARTS = 20
PORTION = 100_000
MOST_GROWTH = 1.1


@dataclass(frozen=True, slots=True)
class Part:
    """So many events in all, taken so fast lately, and ingest's memory then, in MiB."""

    events: int
    events_per_second: int
    memory: float


async def soak(count: int, seconds: float) -> tuple[list[Part], int]:
    """Send events, until the time is over at the latest; give the parts and how many are lost."""
    parts: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="tallybook-soak-") as directory:
        async with Installation(Path(directory), services=("ingest",)) as installation:
            process = psutil.Process(installation.stack.supervisor.pids["ingest"])
            period = Period.of(datetime.now(UTC)).previous()
            deadline = time.monotonic() + seconds
            sent, taken = 0, 0.0
            each = max(PORTION, count // PARTS)
            while sent < count and time.monotonic() < deadline:
                rate = await steps.ingest(installation, list(made.events(sent, PORTION, period)))
                sent += PORTION
                taken += rate.seconds
                if sent % each < PORTION:
                    memory = process.memory_info().rss / 2**20
                    parts.append(Part(sent, round(each / taken), round(memory, 1)))
                    err.print(f"{sent:,} events, {memory:.1f} MiB")
                    taken = 0.0
            on_log = sum((await end_offsets(installation.settings)).values())
    return parts, sent - on_log


def main() -> None:
    """Measure and print; exit 1 where memory grew or an event is lost."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000, help="how many events")
    parser.add_argument("--minutes", type=float, default=20, help="the longest it may take")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    found = run_until_stopped(soak(arguments.events, 60 * arguments.minutes))
    if found is None:
        sys.exit(130)
    parts, lost = found
    if arguments.json:
        sys.stdout.write(as_json({"parts": parts, "lost": lost}) + "\n")
    else:
        table = Table(title=f"{parts[-1].events:,} events, {lost} lost", title_justify="left")
        for name in ("events", "events/s", "memory of ingest, MiB"):
            table.add_column(name)
        for part in parts:
            table.add_row(f"{part.events:,}", f"{part.events_per_second:,}", f"{part.memory:.1f}")
        out.print(table)
    if lost or max(part.memory for part in parts) > MOST_GROWTH * parts[0].memory:
        sys.exit(1)


if __name__ == "__main__":
    main()
