"""Writes rows as CSV or as lines of JSON, some at a time, each format in one pass. Pure.

A row holds one value a column: texts, integers, decimals, moments in UTC, dates, flags, or None.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import msgspec

from services.invoicer.exporting.kinds import Column, ColumnType
from shared.moments import format_moment
from shared.money import plain

Row: TypeAlias = Sequence[Any]


class Format(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


ENDINGS: Mapping[Format, str] = {
    Format.CSV: "csv",
    Format.JSON: "ndjson",
    Format.PARQUET: "parquet",
}
"""How a file's name ends."""

MEDIA_TYPES: Mapping[Format, str] = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSON: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
}


class Encoder(Protocol):
    """Writes an export: `rows` as often as there are some, then `end` once."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Give the bytes of some rows, and of what goes before the first."""

    def end(self) -> bytes:
        """Give the bytes after the last row."""


class CsvEncoder:
    """CSV by RFC 4180, in UTF-8: a line of names, lines that end with CR LF, quotes as needed."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow([column.name for column in columns])
        self._write = [_IN_CSV.get(column.type, _no_formula) for column in columns]

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Write rows; a value that is absent is an empty field."""
        for row in rows:
            self._writer.writerow(
                [
                    "" if value is None else write(value)
                    for write, value in zip(self._write, row, strict=True)
                ]
            )
        return self._taken()

    def end(self) -> bytes:
        """Give what is left: the names, if there was no row."""
        return self._taken()

    def _taken(self) -> bytes:
        data = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return data


class JsonEncoder:
    """One JSON object a line; money and quantities are decimal strings."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.name for column in columns]
        self._write = [_IN_JSON.get(column.type, _as_it_is) for column in columns]

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Write rows; a value that is absent is null."""
        return _LINES.encode_lines([self._object(row) for row in rows])

    def end(self) -> bytes:
        """Give nothing: the last line is like all others."""
        return b""

    def _object(self, row: Row) -> dict[str, Any]:
        values = (
            None if value is None else write(value)
            for write, value in zip(self._write, row, strict=True)
        )
        return dict(zip(self._names, values, strict=True))


_LINES = msgspec.json.Encoder()
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula, by an apostrophe before it.

    A text that begins with apostrophes before such a sign gets one more, so that taking one off
    gives every text back.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _as_it_is(value: Any) -> Any:
    return value


def _money(amount: Decimal) -> str:
    return f"{amount:f}"


def _moment(moment: datetime) -> str:
    return format_moment(moment) or ""


def _flag(value: bool) -> str:
    return "true" if value else "false"


_IN_CSV: Mapping[ColumnType, Callable[[Any], str]] = {
    "integer": str,
    "decimal": plain,
    "money": _money,
    "moment": _moment,
    "date": date.isoformat,
    "flag": _flag,
}
_IN_JSON: Mapping[ColumnType, Callable[[Any], Any]] = {
    "decimal": plain,
    "money": _money,
    "moment": _moment,
    "date": date.isoformat,
    "json": lambda text: msgspec.Raw(text.encode()),
}
