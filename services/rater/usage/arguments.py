"""How commands of the rater are told a month."""

from typing import Annotated

import typer

from shared.periods import InvalidPeriodError, Period


def _read_period(text: str) -> Period:
    try:
        return Period.parse(text)
    except InvalidPeriodError as error:
        raise typer.BadParameter(str(error)) from None


PeriodOption = Annotated[
    Period | None,
    typer.Option(
        "--period",
        metavar="PERIOD",
        parser=_read_period,
        help="a month such as 2026-10; without: the present one",
    ),
]
