"""Writes rows as Parquet, a row group at a time. Pure; pyarrow is loaded when first needed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.invoicer.exporting.encoding import Row
from services.invoicer.exporting.kinds import Column
from shared.errors import InvalidInputError, WrongUseError
from shared.money import MINOR_UNITS

_DIGITS, _PLACES = 38, 18
"""A decimal of 128 bits, which every reader takes: 38 digits, 18 of them after the point."""
_WIDE_DIGITS, _WIDE_PLACES = 76, 38
"""A decimal of 256 bits, for what does not fit."""
MONEY_PLACES = max(MINOR_UNITS.values())


class NoParquetError(WrongUseError):
    """Parquet is asked for where pyarrow is not installed."""

    code = "no_parquet"
    status = 501

    def __init__(self) -> None:
        super().__init__(
            "Parquet needs pyarrow, which is not installed here; install tallybook[export],"
            " or export as csv or json"
        )


class TooPreciseError(InvalidInputError):
    """A decimal with more digits than Parquet can hold."""

    code = "too_precise"

    def __init__(self, column: str) -> None:
        super().__init__(
            f"{column} holds a number with more digits than Parquet can hold; export as csv or json"
        )


class Width(NamedTuple):
    """The most digits before and after the point among a column's decimals."""

    whole: int
    places: int


class ParquetEncoder:
    """Parquet: decimals are exact, moments in UTC to the microsecond, pages compressed by zstd."""

    def __init__(self, columns: Sequence[Column], widths: Mapping[str, Width]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise NoParquetError from None
        self._arrow = pyarrow
        self._schema = pyarrow.schema(
            [(one.name, self._type(one, widths.get(one.name, Width(0, 0)))) for one in columns]
        )
        self._written = _Written()
        self._writer = pyarrow.parquet.ParquetWriter(
            self._written, self._schema, compression="zstd"
        )

    def _type(self, column: Column, width: Width) -> Any:
        match column.type:
            case "integer":
                return self._arrow.int64()
            case "flag":
                return self._arrow.bool_()
            case "moment":
                return self._arrow.timestamp("us", tz="UTC")
            case "date":
                return self._arrow.date32()
            case "money":
                return self._arrow.decimal128(_DIGITS, MONEY_PLACES)
            case "decimal":
                return self._decimal(column.name, width)
            case "text" | "json":
                return self._arrow.string()

    def _decimal(self, name: str, width: Width) -> Any:
        if width.places <= _PLACES and width.whole <= _DIGITS - _PLACES:
            return self._arrow.decimal128(_DIGITS, _PLACES)
        if width.places <= _WIDE_PLACES and width.whole <= _WIDE_DIGITS - _WIDE_PLACES:
            return self._arrow.decimal256(_WIDE_DIGITS, _WIDE_PLACES)
        raise TooPreciseError(name)

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Write rows as a row group."""
        arrays = [
            self._arrow.array(values, type=field.type)
            for values, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.table(arrays, schema=self._schema))
        return self._written.taken()

    def end(self) -> bytes:
        """Write where everything is, which in Parquet stands at the end."""
        self._writer.close()
        return self._written.taken()


class _Written:
    """A file that only grows, and of which what was written is taken away."""

    closed = False

    def __init__(self) -> None:
        self._data = bytearray()
        self._place = 0

    def write(self, data: bytes) -> int:
        self._data += data
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Do nothing: what was written is there."""

    def close(self) -> None:
        """Do nothing: what was written can still be taken."""

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
