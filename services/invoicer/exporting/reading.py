"""Reads an export from one snapshot of the books, by a cursor, some rows at a time.

I/O: reads of Postgres. What it holds in memory does not grow with the month.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.invoicer.exporting.accounts import Accounts
from services.invoicer.exporting.encoding import (
    CsvEncoder,
    Encoder,
    Format,
    JsonEncoder,
    Row,
)
from services.invoicer.exporting.journal import BOOKINGS
from services.invoicer.exporting.journal_reading import read_journal
from services.invoicer.exporting.kinds import EXPORTS, Export, Kind
from services.invoicer.exporting.parquet import ParquetEncoder, Width
from shared.database import Connection, asyncpg_connection
from shared.errors import ConflictingStateError
from shared.moments import format_moment
from shared.money import from_minor
from shared.periods import Period

ROWS_AT_ONCE = 20_000
"""Rows read, encoded and written together; in Parquet they are a row group."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, and how many of those that were counted it took to make them."""

    rows: list[Row]
    counted: int


@dataclass(frozen=True, slots=True)
class OpenExport:
    """An export that is ready to be read, once.

    `so_far` says in words why the month may still change, None where it cannot.
    """

    encoder: Encoder
    counted: int
    so_far: str | None
    batches: AsyncIterator[Batch]


@asynccontextmanager
async def open_export(
    engine: AsyncEngine,
    kind: Kind,
    period: Period,
    form: Format,
    *,
    accounts: Accounts,
    now: datetime,
) -> AsyncIterator[OpenExport]:
    """Open an export on a snapshot that is kept until the context ends.

    Raises `ConflictingStateError` for a month that has not begun or, where it is of invoices,
    has none yet; `NoParquetError` and `TooPreciseError`; while a journal is read, `JournalError`.
    """
    if now < period.start:
        raise ConflictingStateError(
            f"{period} has not begun; it begins at {format_moment(period.start)}"
        )
    export = EXPORTS[kind]
    async with AsyncSession(engine) as session:
        await session.connection(
            execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        so_far = await _so_far(session, export, period)
        connection = await asyncpg_connection(session)
        counted, widths = await _measure(connection, export, period, form)
        if kind is Kind.JOURNAL:
            batches = _journal(connection, period, accounts)
        else:
            batches = _batches(connection, export, period)
        yield OpenExport(_encoder(export, form, widths), counted, so_far, batches)


def _encoder(export: Export, form: Format, widths: Mapping[str, Width]) -> Encoder:
    match form:
        case Format.CSV:
            return CsvEncoder(export.columns)
        case Format.JSON:
            return JsonEncoder(export.columns)
        case Format.PARQUET:
            return ParquetEncoder(export.columns, widths)


async def _so_far(session: AsyncSession, export: Export, period: Period) -> str | None:
    """Say why the month may still change; raise where there are no invoices to export."""
    month = {"period": str(period)}
    state = await session.scalar(text("SELECT state FROM periods WHERE period = :period"), month)
    if not export.of_invoices:
        if state == "closed":
            return None
        return f"{period} is {state or 'open'}: this is what it holds so far"
    run = text("SELECT EXISTS (SELECT FROM invoice_runs WHERE period = :period)")
    if not await session.scalar(run, month):
        raise ConflictingStateError(
            f"{period} has no invoices yet, it is {state or 'open'};"
            f" close it and make them with: tallybook runs start {period}"
        )
    rows = await session.execute(
        text("SELECT state, count(*) FROM invoices WHERE period = :period GROUP BY 1 ORDER BY 1"),
        month,
    )
    left = [f"{count} {state}" for state, count in rows if not BOOKINGS["invoice"].get(state)]
    return f"not all invoices of {period} are final: {', '.join(left)}" if left else None


async def _measure(
    connection: Connection, export: Export, period: Period, form: Format
) -> tuple[int, dict[str, Width]]:
    """Count the rows and, for Parquet, the digits of their decimals."""
    decimals = [export.columns[place] for place in export.places("decimal")]
    measured = decimals if form is Format.PARQUET else []
    digits = "".join(
        f", coalesce(max(length(trunc(abs({one.sql}))::text)), 0)"
        f", coalesce(max(scale(trim_scale({one.sql}))), 0)"
        for one in measured
    )
    row = await connection.fetchrow(
        f"SELECT count(*){digits} {export.source}", *_arguments(export, period)
    )
    assert row is not None
    widths = {
        one.name: Width(row[1 + 2 * index], row[2 + 2 * index])
        for index, one in enumerate(measured)
    }
    return int(row[0]), widths


def _arguments(export: Export, period: Period) -> tuple[object, ...]:
    return (period.start, period.end) if export.by_time else (str(period),)


async def _batches(connection: Connection, export: Export, period: Period) -> AsyncIterator[Batch]:
    """Read rows by a cursor, with money in the major unit of its currency."""
    money = export.places("money")
    currency = [one.name for one in export.columns].index("currency") if money else 0
    cursor = await connection.cursor(export.query, *_arguments(export, period))
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        converted = [list(row.values()) for row in rows]
        for row in converted:
            for place in money:
                row[place] = from_minor(row[place], row[currency])
        yield Batch([*converted], len(rows))


async def _journal(
    connection: Connection, period: Period, accounts: Accounts
) -> AsyncIterator[Batch]:
    """Give the journal's rows; those of an invoice come together."""
    async for rows, invoices in read_journal(connection, period, accounts):
        for start in range(0, len(rows), ROWS_AT_ONCE):
            counted = 0 if start else invoices
            yield Batch(rows[start : start + ROWS_AT_ONCE], counted)
