"""Reads exports as their receivers would: with csv, json and pyarrow, and nothing of ours. Pure."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow.parquet

Rows = list[dict[str, Any]]


def read_back(form: str, data: bytes) -> Rows:
    """Give the rows of an export, each by the names of its columns."""
    match form:
        case "csv":
            return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
        case "json":
            return [json.loads(line) for line in data.splitlines()]
        case "parquet":
            rows: Rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
            return rows
        case _:
            raise AssertionError(form)


def alike(rows: Rows, expected: Sequence[Mapping[str, Any]]) -> Rows:
    """Give the rows with what stands in the columns of the expected ones, as values like theirs."""
    assert len(rows) == len(expected)
    return [
        {name: _value(row[name], wanted) for name, wanted in other.items()}
        for row, other in zip(rows, expected, strict=True)
    ]


def _value(cell: Any, wanted: Any) -> Any:
    match wanted:
        case None:
            return None if cell == "" else cell
        case bool():
            return {"true": True, "false": False}.get(cell, cell)
        case int():
            return int(cell)
        case Decimal():
            assert not isinstance(cell, float)
            return Decimal(cell)
        case datetime():
            return datetime.fromisoformat(cell) if isinstance(cell, str) else cell
        case dict():
            return json.loads(cell) if isinstance(cell, str) else cell
        case _:
            return cell
