"""Shows how far long work is: a bar on a terminal, a line now and then otherwise.

Everything goes to standard error, so that standard output stays the answer's.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_LINE_SECONDS = 5.0


class Bar:
    """One piece of work of a known size."""

    def __init__(self, console: Console, label: str, total: int) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._done = 0
        self._started = self._said = time.monotonic()
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def advance(self, count: int = 1) -> None:
        """Count more of the work as done."""
        self._done += count
        if self._progress is not None:
            rate = self._done / max(0.001, time.monotonic() - self._started)
            self._progress.update(self._task, completed=self._done, rate=f"{rate:,.0f}/s")
        elif time.monotonic() - self._said > _LINE_SECONDS:
            self._said = time.monotonic()
            self._console.print(f"{self._label}: {self._done:,} of {self._total:,}")

    @contextmanager
    def shown(self) -> Iterator["Bar"]:
        """Draw the bar for as long as the work goes on."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            self._task = progress.add_task(self._label, total=self._total, rate="")
            self._progress = progress
            yield self
        self._progress = None


@contextmanager
def bar(console: Console, label: str, total: int) -> Iterator[Bar]:
    """Show the progress of work of `total` pieces."""
    with Bar(console, label, total).shown() as shown:
        yield shown
