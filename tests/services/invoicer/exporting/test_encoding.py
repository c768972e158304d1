"""CSV, JSON and Parquet: every value comes back as it was, and none as a float or a formula."""

import csv
import io
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.exporting.encoding import CsvEncoder, Encoder, JsonEncoder
from services.invoicer.exporting.kinds import EXPORTS, Column, Kind
from services.invoicer.exporting.parquet import (
    NoParquetError,
    ParquetEncoder,
    TooPreciseError,
    Width,
)
from tests.services.invoicer.exporting.reading_back import alike, read_back

COLUMNS = (
    Column("text", "", "text", ""),
    Column("integer", "", "integer", ""),
    Column("decimal", "", "decimal", ""),
    Column("money", "", "money", ""),
    Column("moment", "", "moment", ""),
    Column("flag", "", "flag", ""),
)
FORMATS = ("csv", "json", "parquet")
ROWS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.integers(-(2**63), 2**63 - 1) | st.none(),
        st.decimals(-(10**20) + 1, 10**20 - 1, places=18) | st.just(Decimal("1E-18")),
        st.decimals(-(10**9), 10**9, places=3),
        st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),  # noqa: DTZ001
        st.booleans(),
    ),
    max_size=8,
)


def encoder(form: str, columns: tuple[Column, ...] = COLUMNS, **widths: Width) -> Encoder:
    match form:
        case "csv":
            return CsvEncoder(columns)
        case "json":
            return JsonEncoder(columns)
        case _:
            return ParquetEncoder(columns, widths)


def written(form: str, *batches: Any, columns: tuple[Column, ...] = COLUMNS) -> bytes:
    made = encoder(form, columns)
    return b"".join([*(made.rows(batch) for batch in batches if batch), made.end()])


def without_guard(text: str) -> str:
    return re.sub(r"^'(?='*[=+\-@\t\r\n＝＋－＠])", "", text)


@pytest.mark.parametrize("form", FORMATS)
@given(first=ROWS, second=ROWS)
def test_every_value_comes_back(form: str, first: list[Any], second: list[Any]) -> None:
    data = written(form, first, second)
    expected = [
        dict(zip([one.name for one in COLUMNS], row, strict=True)) for row in [*first, *second]
    ]
    rows = read_back(form, data)
    if form == "csv":
        for row in rows:
            assert not re.match(r"[=+\-@\t\r\n＝＋－＠]", row["text"])
            row["text"] = without_guard(row["text"])
    assert alike(rows, expected) == expected


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("-5", "'-5"),
        ("'=1", "''=1"),
        ("'quoted'", "'quoted'"),
        ("a=b", "a=b"),
        ('Ada, "Bob"\r\n& Zoë', '"Ada, ""Bob""\r\n& Zoë"'),
    ],
)
def test_a_text_in_csv(text: str, field: str) -> None:
    assert written("csv", [[text]], columns=COLUMNS[:1]).decode() == f"text\r\n{field}\r\n"


def test_a_negative_number_is_no_formula() -> None:
    columns = COLUMNS[2:4]
    data = written("csv", [[Decimal("-0.00000010"), Decimal("-2.50")]], columns=columns)
    assert data == b"decimal,money\r\n-0.0000001,-2.50\r\n"


@pytest.mark.parametrize("form", FORMATS)
def test_without_rows_the_names_are_there_all_the_same(form: str) -> None:
    data = written(form)
    assert read_back(form, data) == []
    if form == "csv":
        assert list(csv.reader(io.StringIO(data.decode()))) == [[one.name for one in COLUMNS]]


def test_parquet_widens_its_decimals_where_it_must_and_never_rounds() -> None:
    columns = COLUMNS[2:3]
    long = Decimal(f"{10**30}.{'0' * 37}1")
    made = encoder("parquet", columns, decimal=Width(31, 38))
    data = made.rows([[long]]) + made.end()
    assert read_back("parquet", data) == [{"decimal": long}]
    with pytest.raises(TooPreciseError, match="decimal holds a number"):
        encoder("parquet", columns, decimal=Width(1, 39))


def test_without_pyarrow_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NoParquetError, match=r"install tallybook\[export\]"):
        encoder("parquet")


@pytest.mark.parametrize("kind", Kind)
def test_columns_have_different_names_and_money_has_its_currency(kind: Kind) -> None:
    names = [one.name for one in EXPORTS[kind].columns]
    assert len(names) == len(set(names))
    assert not EXPORTS[kind].places("money") or "currency" in names
