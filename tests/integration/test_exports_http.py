"""Exports over HTTP and down a pipe: streamed, and their snapshot let go of however they end."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from services.invoicer.exporting.reading import ROWS_AT_ONCE
from shared.periods import Period
from tests.integration.conftest import OpenWorld
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.exporting.reading_back import read_back
from tests.services.invoicer.postings import Item

MANY = ROWS_AT_ONCE * 2 + 1
LONG_AGO = Period(2020, 2)
_FILL = f"""
    INSERT INTO events
    SELECT 'shop', number::text, 'ai.execution.finished', 'ghost', '2020-02-10', '{{"n": 1.5}}',
        '\\x00', 0, number, '2020-02-10', 1, NULL, false
    FROM generate_series(1, {MANY}) AS number
"""


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await months.fill_month(made, {"acme": [Item("10")]})
        await made.fetch(_FILL)
        await made.start("invoicer")
        await months.start(made)
        yield made


def address(world: World, kind: str, period: Period, form: str = "csv") -> str:
    return f"{world.settings.invoicer_url}/v1/exports/{kind}?period={period}&format={form}"


async def ask(world: World, url: str, key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key or world.finance_key}"}
    return await world.http.get(url, headers=headers)


async def test_finance_gets_a_month(world: World) -> None:
    answer = await ask(world, address(world, "invoices", world.period))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f'filename="invoices-{world.period}.csv"' in answer.headers["content-disposition"]
    assert answer.headers["tallybook-so-far"].endswith("are final: 1 frozen")
    (row,) = read_back("csv", answer.content)
    assert (row["customer"], row["total"]) == ("acme", "10.00")
    items = await ask(world, address(world, "line-items", world.period))
    assert "tallybook-so-far" not in items.headers
    journal = await ask(world, address(world, "journal", world.period, "parquet"))
    assert read_back("parquet", journal.content) == []
    assert journal.headers["tallybook-so-far"] == answer.headers["tallybook-so-far"]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
async def test_a_month_of_many_rows_comes_whole(world: World, form: str) -> None:
    answer = await ask(world, address(world, "events", LONG_AGO, form))
    rows = read_back(form, answer.content)
    assert sorted(int(row["id"]) for row in rows) == list(range(1, MANY + 1))
    assert answer.headers["tallybook-so-far"] == "2020-02 is open: this is what it holds so far"


async def test_a_receiver_that_goes_away_leaves_no_snapshot_behind(world: World) -> None:
    url = address(world, "events", LONG_AGO, "json")
    headers = {"Authorization": f"Bearer {world.finance_key}"}
    async with httpx.AsyncClient() as http, http.stream("GET", url, headers=headers) as answer:
        async for _ in answer.aiter_bytes():
            break
    deadline = time.monotonic() + 60
    while await snapshots(world):
        assert time.monotonic() < deadline, "a transaction is still open"
        await asyncio.sleep(0.1)


async def snapshots(world: World) -> int:
    rows = await world.fetch(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'idle in transaction' AND query LIKE '%FROM events%'"
    )
    return len(rows)


async def test_what_is_wrong_is_a_problem(world: World) -> None:
    none_yet = await ask(world, address(world, "invoices", world.period.next()))
    assert (none_yet.status_code, none_yet.json()["status"]) == (409, 409)
    assert "runs start" in none_yet.json()["detail"]
    for wrong in ("2026-13", "2020-02&format=xml"):
        url = f"{world.settings.invoicer_url}/v1/exports/events?period={wrong}"
        assert (await ask(world, url)).status_code == 422
    assert (await ask(world, address(world, "secrets", LONG_AGO))).status_code == 422
    forbidden = await ask(world, address(world, "events", LONG_AGO), world.producer_key)
    assert forbidden.status_code == 403


async def test_a_reader_that_has_enough_ends_the_command_quietly(world: World) -> None:
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.cli", "export", "events", "--period", str(LONG_AGO), "--out", "-"),
        env=world.environment,
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    assert (await asyncio.to_thread(os.read, reading, 15)) == b"source,id,type,"
    os.close(reading)
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    assert (said, process.returncode) == (b"", 1)
