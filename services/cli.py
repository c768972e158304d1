"""The `tallybook` command: what it says when something goes wrong is one line."""

import sys
from typing import NoReturn

import asyncpg
import pydantic
import sqlalchemy.exc

from services.commands import command_line
from shared.console import err
from shared.database import TRANSIENT
from shared.errors import TallybookError
from shared.settings import Settings


def _fail(text: str, status: int) -> NoReturn:
    err.print("error:", style="bold red", end=" ")
    err.print(text, markup=False, highlight=False)
    sys.exit(status)


def _of_settings(error: pydantic.ValidationError) -> str:
    """Say which variable is wrong; its value, which may be secret, is not repeated."""
    parts = [
        f"TALLYBOOK_{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
        for one in error.errors()
    ]
    return "; ".join(parts) + "; see: tallybook settings --help"


def _of_postgres(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    cause: BaseException = error
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig
    if isinstance(cause, asyncpg.UndefinedTableError):
        return "the database is not migrated; run: tallybook migrate"
    where = Settings().postgres_host()
    return (
        f"Postgres at {where} does not answer as it should ({type(cause).__name__}: {cause});"
        " is it up, and is TALLYBOOK_DATABASE_URL right?"
    )


def main() -> None:
    """Run the command line; what a user can act on becomes one line and an exit status."""
    try:
        command_line(*sys.argv[1:2])()
    except TallybookError as error:
        _fail(str(error), error.exit_status)
    except pydantic.ValidationError as error:
        _fail(_of_settings(error), 2)
    except (*TRANSIENT, asyncpg.PostgresError, sqlalchemy.exc.DBAPIError) as error:
        _fail(_of_postgres(error), 2)


if __name__ == "__main__":
    main()
