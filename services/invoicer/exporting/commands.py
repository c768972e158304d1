"""The command that writes a month's export to a file or to standard output."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine
from typing_extensions import TypedDict

from services.invoicer.arguments import read_period, with_engine
from services.invoicer.exporting.accounts_file import accounts_of
from services.invoicer.exporting.encoding import ENDINGS, Format
from services.invoicer.exporting.files import WholeFile
from services.invoicer.exporting.kinds import Kind
from services.invoicer.exporting.reading import OpenExport, open_export
from shared.clock import present
from shared.console import JsonOption, err, show
from shared.errors import WrongUseError
from shared.periods import Period
from shared.progress import bar
from shared.settings import Settings

_STANDARD_OUTPUT = Path("-")


class ExportDocument(TypedDict):
    """What was written; `so_far` says why the month may still change, null where it cannot."""

    export: str
    period: str
    format: str
    file: str
    rows: int
    so_far: str | None


def export_command(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"one of {', '.join(Kind)}")],
    period: Annotated[
        Period,
        typer.Option("--period", metavar="PERIOD", parser=read_period, help="the month: 2026-10"),
    ],
    form: Annotated[
        Format, typer.Option("--format", help=f"one of {', '.join(Format)}")
    ] = Format.CSV,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="write to this file; `-`: standard output"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a month out for others: to a file named after it in this directory, or to `--out`."""
    file = out or Path(f"{kind}-{period}.{ENDINGS[form]}")
    to_stdout = file == _STANDARD_OUTPUT
    if to_stdout and json:
        raise WrongUseError("--json and --out - both want standard output; leave one of them out")
    if to_stdout:
        document = _write(kind, period, form, file, _to_standard_output)
    else:
        with WholeFile(file) as whole:
            document = _write(kind, period, form, file, whole.write)
    if document["so_far"]:
        err.print(document["so_far"], markup=False, highlight=False)
    if not to_stdout:
        show(document, json=json, table=lambda: f"{file}: {document['rows']} rows")


def _write(
    kind: Kind, period: Period, form: Format, file: Path, write: Callable[[bytes], None]
) -> ExportDocument:
    async def written(settings: Settings, engine: AsyncEngine) -> ExportDocument:
        accounts = accounts_of(settings)
        async with open_export(
            engine, kind, period, form, accounts=accounts, now=present()
        ) as opened:
            rows = await _write_all(opened, kind, write)
        return {
            "export": kind,
            "period": str(period),
            "format": form,
            "file": str(file),
            "rows": rows,
            "so_far": opened.so_far,
        }

    return with_engine(written)


async def _write_all(opened: OpenExport, kind: Kind, write: Callable[[bytes], None]) -> int:
    rows = 0
    with bar(err, kind, opened.counted) if opened.counted else nullcontext() as shown:
        async for batch in opened.batches:
            write(await asyncio.to_thread(opened.encoder.rows, batch.rows))
            rows += len(batch.rows)
            if shown is not None:
                shown.advance(batch.counted)
    write(opened.encoder.end())
    return rows


def _to_standard_output(data: bytes) -> None:
    """Write on; where nobody reads any more, end as the shell's own tools do."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
