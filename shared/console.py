"""How commands speak: a JSON document or a table on standard output, all else on standard error."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Role, open_engine
from shared.errors import WrongUseError
from shared.settings import Settings

T = TypeVar("T")

JsonOption = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def as_json(document: object) -> str:
    """Write a document as indented JSON; money and quantities are strings already."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def read_text(file: Path) -> str:
    """Read a text file that was named; raise `WrongUseError` where it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUseError(f"{file} cannot be read as UTF-8 text: {error}") from None


def show(document: object, *, json: bool, table: Callable[[], Table | str]) -> None:
    """Print a command's answer, as JSON or for a person."""
    if json:
        sys.stdout.write(as_json(document) + "\n")
    else:
        answer = table()
        # A text is printed as it is: what stands in brackets is no markup.
        out.print(Text(answer) if isinstance(answer, str) else answer)


def rows_table(rows: Sequence[Mapping[str, Any]], *, title: str, empty: str) -> Table | str:
    """Lay out rows with equal keys as a table."""
    if not rows:
        return empty
    table = Table(title=Text(title, style="table.title"), title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    return table


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(coroutine)


def run_in_session(role: Role, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Run a command's work on a database session in the role of a service."""

    async def opened() -> T:
        engine = open_engine(Settings(), role)
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                return await work(session)
        finally:
            await engine.dispose()

    return run(opened())


__all__ = [
    "JsonOption",
    "as_json",
    "err",
    "out",
    "read_text",
    "rows_table",
    "run",
    "run_in_session",
    "show",
]
