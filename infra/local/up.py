"""`tallybook up`: everything on one data directory, in the foreground, until it is stopped."""

import asyncio
import json
import signal
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from infra.local.installation import Installation
from infra.local.stack import Progress

T = TypeVar("T")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def up(
    directory: Path, *, port_base: int | None, ready_file: Path | None, on_progress: Progress
) -> None:
    """Run until cancelled; parts that end by themselves are started again.

    When all is ready, `ready_file` holds where everything answers, the keys and process ids;
    only its owner may read it, and it is removed at the stop.
    """
    installation = Installation(directory, port_base=port_base, on_progress=on_progress)
    kept = ready_file or installation.directory / "ready.json"
    kept.unlink(missing_ok=True)
    async with installation:
        _write_ready(kept, installation)
        _say_ready(installation, kept, on_progress)

        def on_restart(text: str) -> None:
            on_progress(text)
            _write_ready(kept, installation)

        try:
            await installation.stack.supervisor.watch(on_restart)
        finally:
            kept.unlink(missing_ok=True)
            on_progress("stopping")


def _say_ready(installation: Installation, kept: Path, on_progress: Progress) -> None:
    addresses = installation.addresses
    on_progress(f"ready: ingest {addresses.ingest_url}, rater {addresses.rater_url}")
    on_progress(f"       invoicer {addresses.invoicer_url}, Stripe sandbox {addresses.stripe_url}")
    on_progress(f"       addresses, keys and process ids: {kept}")
    on_progress(f"       for commands in another shell: . {write_environment(installation)}")
    on_progress("Ctrl-C stops it; the next `tallybook up` on the same directory goes on")


def _write_ready(path: Path, installation: Installation) -> None:
    pids = installation.stack.supervisor.pids
    document = {**asdict(installation.addresses), "pids": pids}
    _write_privately(path, json.dumps(document, indent=2) + "\n")


def write_environment(installation: Installation) -> Path:
    """Write the variables with which commands reach the installation, to be read by a shell."""
    settings = installation.settings
    variables: dict[str, str | None] = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "STRIPE_API_BASE": settings.stripe_api_base,
        "INGEST_URL": settings.ingest_url,
        "RATER_URL": settings.rater_url,
        "INVOICER_URL": settings.invoicer_url,
        "PRODUCER_KEY": installation.addresses.producer_key,
        "FINANCE_KEY": installation.addresses.finance_key,
    }
    path = installation.directory / "environment"
    lines = [f"export TALLYBOOK_{name}='{value}'\n" for name, value in variables.items() if value]
    _write_privately(path, "".join(lines))
    return path


def _write_privately(path: Path, text: str) -> None:
    """Put a file in place whole, readable by its owner only."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def run_until_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Run to the end, or until SIGINT, SIGTERM or SIGHUP, then let it clean up; None if stopped.

    However often the signal comes, what is being stopped is stopped to the end.
    """

    async def supervised() -> T | None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        stopped = False

        def stop() -> None:
            nonlocal stopped
            if not stopped:
                stopped = True
                task.cancel()

        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop)
        try:
            return await task
        except asyncio.CancelledError:
            if stopped:
                return None
            raise

    return asyncio.run(supervised())
