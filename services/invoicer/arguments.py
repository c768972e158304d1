"""What the invoicer's commands share: how a month is read, and what they work on."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.console import err, run
from shared.database import Role, open_engine
from shared.periods import InvalidPeriodError, Period
from shared.settings import Settings

T = TypeVar("T")

ROLE: Role = "tallybook_invoicer"


def read_period(text: str) -> Period:
    """Read a month that was given to a command."""
    try:
        return Period.parse(text)
    except InvalidPeriodError as error:
        raise typer.BadParameter(str(error)) from None


PeriodArgument = Annotated[
    Period, typer.Argument(metavar="PERIOD", parser=read_period, help="a month: 2026-10")
]
PeriodOption = Annotated[
    Period | None,
    typer.Option("--period", metavar="PERIOD", parser=read_period, help="only this month's"),
]


def with_engine(work: Callable[[Settings, AsyncEngine], Awaitable[T]]) -> T:
    """Run a command's work on an engine in the invoicer's role."""
    settings = Settings()

    async def opened() -> T:
        engine = open_engine(settings, ROLE)
        try:
            return await work(settings, engine)
        finally:
            await engine.dispose()

    return run(opened())


def chosen(found: Sequence[Mapping[str, Any]], *columns: str) -> list[dict[str, Any]]:
    """Take some of a document's columns, for a person's eyes."""
    return [{name: one[name] for name in columns} for one in found]


def say(text: str) -> None:
    """Tell a person how it goes, beside the answer."""
    err.print(text, markup=False, highlight=False)
