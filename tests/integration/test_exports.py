"""Exports of a month: each kind in each format, read back by others' readers, as the tables are."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.invoicer.exporting.encoding import Format
from services.invoicer.exporting.kinds import EXPORTS, Kind
from shared.errors import ConflictingStateError
from shared.money import from_minor
from shared.periods import Period
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import Ran, tallybook
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.exporting.in_process import exported, opened
from tests.services.invoicer.exporting.reading_back import alike, read_back
from tests.services.invoicer.postings import Item

NAMES = {
    "acme": 'Acme, "Roadrunner"\r\n& Söhne ☂',
    "bob": '=HYPERLINK("http://evil")',
    "kuw": "شركة",
}
EXPECTED = {
    Kind.USAGE: "SELECT usage_period::text AS period, contract_id AS contract, meter, dimension,"
    " value, quantity FROM usage_totals ORDER BY contract_id, dimension, value",
    Kind.EVENTS: "SELECT source, id, type, customer_id AS customer, contract_id AS contract, time,"
    " received_at, voided, partition, log_offset, batch_id, data::text FROM events ORDER BY id",
    Kind.LINE_ITEMS: "SELECT id, batch_id, customer_id AS customer, contract_id AS contract,"
    " charge, band, kind, usage_period::text, posting_period::text, quantity, unit_price, amount,"
    " currency, corrects, created_at, invoice_id AS invoice, position AS line"
    " FROM line_items LEFT JOIN invoice_line_items ON line_item_id = id ORDER BY id",
    Kind.INVOICES: "SELECT id, run_id AS run, period::text, customer_id AS customer, currency,"
    " kind, revision, state, total_minor, stripe_invoice_id AS stripe_invoice, billing_key,"
    " payload_sha256, created_at, changed_at FROM invoices ORDER BY customer_id, currency",
    Kind.INVOICE_LINES: "SELECT invoice_id AS invoice, l.position, contract_id AS contract,"
    " charge, band, l.kind, usage_period::text, quantity, unit_price, exact_amount, amount_minor,"
    " description FROM invoice_lines l JOIN invoices v ON v.id = invoice_id"
    " ORDER BY customer_id, currency, position",
}


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A month of three customers in four currencies, frozen."""
    async with new_world() as made:
        await made.apply_catalogue()
        customers = {
            "acme": [Item("10"), Item("0.0000000001", "tiny"), Item("202.005", currency="JPY")],
            "bob": [Item("2.5"), Item("-0.005", "other")],
            "kuw": [Item("1.005", currency="KWD"), Item("7.25", currency="EUR")],
        }
        await months.fill_month(made, customers)
        for customer, name in NAMES.items():
            await made.fetch("UPDATE customers SET name = $2 WHERE id = $1", customer, name)
        await fill_usage(made)
        await months.start(made)
        yield made


async def fill_usage(world: World) -> None:
    """Store events of the month, one just before it and one just after, and running totals."""
    (contract,) = await world.fetch("SELECT id FROM contracts WHERE customer_id = 'acme'")
    moments = [
        world.period.start - timedelta(microseconds=1),
        world.period.start,
        world.period.end - timedelta(microseconds=1),
        world.period.end,
    ]
    for number, moment in enumerate(moments):
        await world.fetch(
            "INSERT INTO events VALUES ('shop, \"1\"', $1, 'ai.execution.finished', $6, $2,"
            " $3::text::jsonb, '\\x00', 0, $4, $2, 1, $5, false)",
            f"-{number}",
            moment,
            json.dumps({"model": "a,b", "input_tokens": 10**15, "note": "ä\n'"}),
            number,
            contract["id"] if number % 2 else None,
            "acme" if number % 2 else "nobody",
        )
    for value, quantity in (("", "3.000000000001"), ("a,b", "2"), ("=c", "1")):
        await world.fetch(
            "INSERT INTO usage_totals VALUES ($1, $2, 'executions', $3, $4, $5)",
            contract["id"],
            str(world.period),
            "model" if value else "",
            value,
            Decimal(quantity),
        )


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("kind", list(EXPECTED))
async def test_an_export_holds_what_the_tables_hold(world: World, kind: Kind, form: str) -> None:
    rows = read_back(form, await exported(world, kind, form))
    expected = [dict(row) for row in await world.fetch(EXPECTED[kind])]
    if kind is Kind.EVENTS:
        rows.sort(key=lambda row: str(row["id"]))
        expected = [
            {**one, "data": json.loads(one["data"])}
            for one in expected
            if world.period.start <= one["time"] < world.period.end
        ]
        assert [one["id"] for one in expected] == ["-1", "-2"]
    if form == "csv":
        rows = [{name: cell.removeprefix("'") for name, cell in row.items()} for row in rows]
    assert alike(rows, expected) == expected
    assert list(rows[0]) == [column.name for column in EXPORTS[kind].columns]
    assert all(row.get("customer_name") in (None, NAMES.get(row["customer"]))
               for row in rows)  # fmt: skip


@pytest.mark.parametrize("form", list(Format))
async def test_amounts_have_the_places_of_their_currency_and_add_up(
    world: World, form: str
) -> None:
    invoices = read_back(form, await exported(world, Kind.INVOICES, form))
    totals = {(one["customer"], one["currency"]): one["total"] for one in invoices}
    minor = {"acme USD": 1000, "acme JPY": 202, "bob USD": 249, "kuw KWD": 1010, "kuw EUR": 725}
    assert {f"{customer} {currency}": Decimal(total) for (customer, currency), total
            in totals.items()} == {name: from_minor(value, name[-3:])
                                   for name, value in minor.items()}  # fmt: skip
    if form != "parquet":
        assert sorted(totals.values()) == ["1.010", "10.00", "2.49", "202", "7.25"]
    lines = read_back(form, await exported(world, Kind.INVOICE_LINES, form))
    sums: dict[tuple[Any, Any], Decimal] = {}
    for line in lines:
        key = (line["customer"], line["currency"])
        sums[key] = sums.get(key, Decimal(0)) + Decimal(line["amount"])
    assert sums == {key: Decimal(total) for key, total in totals.items()}


async def test_an_export_sees_one_moment(world: World) -> None:
    """What is posted while it is read is not in it."""
    period = world.period.next()
    (contract,) = await world.fetch("SELECT id FROM contracts WHERE customer_id = 'bob'")
    insert = (
        "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
        " unit_price, amount, currency, usage_period, posting_period, kind)"
        " VALUES (2, 'bob', $1, 'executions', 'all', 1, 1, 1, 'USD', $2, $2, 'usage')"
    )
    await world.fetch(insert, contract["id"], str(period))
    async with opened(world, Kind.LINE_ITEMS, "json", period) as export:
        await world.fetch(insert, contract["id"], str(period))
        counts = [len(batch.rows) async for batch in export.batches]
    assert (export.counted, counts) == (1, [1])
    assert export.so_far == f"{period} is open: this is what it holds so far"


@pytest.mark.parametrize("kind", [Kind.USAGE, Kind.EVENTS, Kind.LINE_ITEMS])
@pytest.mark.parametrize("form", list(Format))
async def test_an_empty_month_gives_a_file_without_rows(
    world: World, kind: Kind, form: str
) -> None:
    data = await exported(world, kind, form, Period(2020, 1))
    assert read_back(form, data) == []
    assert data or form == "json"


async def test_a_month_without_invoices_or_not_begun_is_told(world: World) -> None:
    for kind in (Kind.INVOICES, Kind.INVOICE_LINES):
        with pytest.raises(ConflictingStateError, match="has no invoices yet, it is open"):
            await exported(world, kind, "csv", world.period.next())
    with pytest.raises(ConflictingStateError, match="2999-01 has not begun"):
        await exported(world, Kind.EVENTS, "csv", Period(2999, 1))


# the command ------------------------------------------------------------------------------------


async def export(world: World, kind: str, *more: str) -> Ran:
    return await tallybook(world, "export", kind, "--period", str(world.period), *more)


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_the_command_writes_a_whole_file_and_says_what(world: World, tmp_path: Path) -> None:
    file = tmp_path / "lines.parquet"
    file.write_text("what was there before")
    ran = await export(world, "invoice-lines", "--format", "parquet", "--out", str(file), "--json")
    assert (ran.status, ran.document["rows"], ran.document["file"]) == (0, 7, str(file))
    assert ran.document["so_far"] == (f"not all invoices of {world.period} are final: 5 frozen")
    assert ran.document["so_far"] in ran.err
    assert len(read_back("parquet", file.read_bytes())) == 7
    assert files_in(tmp_path) == [file]


async def test_without_a_name_the_file_is_named_after_its_month(world: World) -> None:
    ran = await export(world, "invoices")
    file = world.directory / f"invoices-{world.period}.csv"
    assert (ran.status, ran.out) == (0, f"{file.name}: 5 rows\n")
    assert len(read_back("csv", file.read_bytes())) == 5
    to_stdout = await export(world, "invoices", "--out", "-", "--format", "csv")
    assert (to_stdout.status, to_stdout.out.encode()) == (0, file.read_bytes())


async def test_a_month_that_cannot_be_read_leaves_no_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "future.csv"
    ran = await tallybook(world, "export", "usage", "--period", "2999-01", "--out", str(file))
    assert (ran.status, ran.out) == (1, "")
    assert "2999-01 has not begun" in ran.err
    assert files_in(tmp_path) == []
