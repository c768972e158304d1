"""The command for an invoice's detail file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.invoicer.arguments import ROLE
from services.invoicer.detail.reading import read_detail
from shared.console import JsonOption, run_in_session, show


def detail_command(
    invoice_id: Annotated[str, typer.Argument(metavar="ID", help="an invoice's id")],
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="write the file here, not to the terminal")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write an invoice's detail file as CSV: what each line is made of, in exact amounts."""
    found = run_in_session(ROLE, lambda session: read_detail(session, invoice_id))
    if output is not None:
        output.write_bytes(found.text.encode())
    if json:
        show(found.document, json=True, table=lambda: "")
    elif output is None:
        sys.stdout.buffer.write(found.text.encode())
