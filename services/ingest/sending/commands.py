"""The command that sends a file of events."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TextIO

import msgspec
import typer

from services.ingest.sending.lines import Batch, batches, count_lines
from services.ingest.sending.place import Place, PlaceFile, identity_of
from services.ingest.sending.sender import Done, Sender
from shared.console import JsonOption, err, show
from shared.errors import WrongUseError
from shared.progress import bar
from shared.settings import Settings

_KEEP_SECONDS = 0.5
"""How often the place is kept."""

_INTERRUPTED = 130


def send_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="one event a line; - for standard input")
    ],
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="events in one request")] = 500,
    rejected: Annotated[
        Path | None, typer.Option(help="a file for the rejected lines, one JSON object each")
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="send all, also what was answered before")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="seconds without an answer until it gives up")
    ] = 30.0,
    json: JsonOption = False,
) -> None:
    """Send a file of events to ingest; exit 1 if any was rejected.

    Interrupted, it goes on where it was when it is run again. To send twice does no harm.
    """
    settings = Settings()
    if settings.producer_key is None:
        raise WrongUseError("set TALLYBOOK_PRODUCER_KEY; make a key with: tallybook keys create")
    sender = Sender(settings.ingest_url, settings.producer_key.get_secret_value(), patience)
    with contextlib.ExitStack() as held:
        opened = held.enter_context(_open(file))
        kept = None if file == "-" or not Path(file).is_file() else PlaceFile(Path(file))
        sending = _Sending(opened, kept, batch, from_start=from_start)
        if rejected is not None:
            mode: Literal["a", "w"] = "a" if sending.resumed_at else "w"
            sending.report_to(held.enter_context(_open_report(rejected, mode)))
        sending.send(sender)
    document = sending.document()
    show(document, json=json, table=lambda: _in_words(document))
    if document["rejected"]:
        raise typer.Exit(1)


def _open(file: str) -> BinaryIO:
    if file == "-":
        return os.fdopen(os.dup(0), "rb")
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise WrongUseError(f"{file} cannot be read: {error.strerror}") from None


def _open_report(path: Path, mode: Literal["a", "w"]) -> TextIO:
    try:
        return path.open(mode, encoding="utf-8")
    except OSError as error:
        raise WrongUseError(f"{path} cannot be written: {error.strerror}") from None


class _Sending:
    """One run: where it begins, how far it is, and what was said of the events."""

    def __init__(
        self, file: BinaryIO, kept: PlaceFile | None, batch: int, *, from_start: bool
    ) -> None:
        self._file, self._kept, self._batch = file, kept, batch
        self._place = Place(identity_of(file.fileno()))
        self._kept_at = time.monotonic()
        self._report: TextIO | None = None
        self._advance: Callable[[int], None] = lambda _: None
        self._total = 0 if kept is None else count_lines(file)
        before = None if kept is None or from_start else kept.read()
        if before is not None and before.file == self._place.file:
            self._place = before
            file.seek(before.offset)
            err.print(f"going on after line {before.lines:,}", markup=False)
        elif before is not None:
            err.print("the file has changed since: sending all of it", markup=False)
        self.resumed_at = self._place.lines

    def report_to(self, file: TextIO) -> None:
        """Write rejected lines there instead of to standard error."""
        self._report = file

    def send(self, sender: Sender) -> None:
        """Send all that is left; whatever ends it, the place is kept."""
        try:
            with self._shown():
                asyncio.run(sender.send(self._batches(), self._done))
        except BaseException as error:
            if self._kept is not None and self._place.lines:
                self._kept.write(self._place)
            if isinstance(error, KeyboardInterrupt):
                again = "; run it again to go on" if self._kept is not None else ""
                err.print(f"interrupted after line {self._place.lines:,}{again}", markup=False)
                raise typer.Exit(_INTERRUPTED) from None
            raise
        if self._kept is not None:
            self._kept.remove()

    def _batches(self) -> Iterator[Batch]:
        return batches(self._file, self._batch, self._place.offset, self._place.lines)

    @contextlib.contextmanager
    def _shown(self) -> Iterator[None]:
        if self._kept is None:  # of unknown length
            yield
            return
        with bar(err, "sending", self._total) as shown:
            shown.advance(self._place.lines)
            self._advance = shown.advance
            yield

    def _done(self, done: Done) -> None:
        for one in done.rejected:
            if self._report is not None:
                line = {"line": one.line, "code": one.code, "detail": one.detail}
                self._report.write(_one_line({**line, "pointer": one.pointer}))
            else:
                place = f" at {one.pointer}" if one.pointer else ""
                text = f"line {one.line}: {one.code}{place}: {one.detail or ''}"
                err.print(text, markup=False, highlight=False)
        self._advance(done.batch.last_line - self._place.lines)
        self._place.offset, self._place.lines = done.batch.end, done.batch.last_line
        self._place.counts.add(done.counts)
        now = time.monotonic()
        if self._kept is not None and now - self._kept_at > _KEEP_SECONDS:
            self._kept_at = now
            if self._report is not None:
                self._report.flush()
            self._kept.write(self._place)

    def document(self) -> dict[str, Any]:
        """Give the verdict counts, those from before an interruption included."""
        counts = self._place.counts
        return {
            "lines": self._place.lines,
            "accepted": counts.accepted,
            "duplicate": counts.duplicate,
            "rejected": counts.all_rejected,
            "rejected_by_code": dict(sorted(counts.rejected.items())),
            "resumed_after_line": self.resumed_at or None,
        }


def _one_line(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode() + "\n"


def _in_words(document: dict[str, Any]) -> str:
    said = ", ".join(f"{document[name]:,} {name}" for name in ("accepted", "duplicate", "rejected"))
    codes = ", ".join(f"{code} {count:,}" for code, count in document["rejected_by_code"].items())
    return f"{document['lines']:,} lines: {said}" + (f" ({codes})" if codes else "")
