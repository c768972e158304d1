"""The invoicer's commands: the same documents as over HTTP, and an exit status that tells."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start_stripe()
        customers = {"acme": [Item("10")], "bob": [Item("2.5"), Item("0.005", "other")]}
        await months.fill_month(made, customers)
        yield made


async def test_a_month_by_commands(world: World, tmp_path: Path) -> None:
    period, run = str(world.period), f"run_{world.period}"
    preview = await tallybook(world, "runs", "preview", period, "--json")
    assert preview.document["totals"] == {"USD": "12.51"}

    first = await tallybook(world, "runs", "start", period, "--json")
    assert (first.status, first.document["states"]) == (0, {"frozen": 2})
    opened = await tallybook(world, "periods", "reopen", period, "--why", "too early", "--json")
    assert opened.document == {"period": period, "withdrawn_invoices": 2}

    closed = await tallybook(world, "periods", "close", period, "--json")
    assert (closed.status, closed.document["state"]) == (0, "closed")
    listed = await tallybook(world, "periods", "list", "--json")
    assert [one["period"] for one in listed.document["periods"]] == [period]

    needed = {"TALLYBOOK_APPROVAL_BY": "anyone"}
    asked = await tallybook(world, "runs", "start", period, "--send", **needed)
    assert (asked.status, "must be approved before it is sent" in asked.err) == (1, True)
    seen = (await tallybook(world, "runs", "show", run, "--json")).document["payload_sha256"]
    wrong = await tallybook(world, "runs", "approve", run, "--hash", "0" * 64)
    assert (wrong.status, "look at it again" in wrong.err) == (1, True)
    approved = await tallybook(world, "runs", "approve", run, "--hash", seen, "--json")
    assert (approved.status, approved.document["state"]) == (0, "approved")
    idle = await tallybook(world, "runs", "pause", run)
    assert (idle.status, "only one being sent is paused" in idle.err) == (1, True)
    alone = await tallybook(world, "runs", "diff", run)
    assert (alone.status, f"there is no run before {run}" in alone.err) == (1, True)
    same = await tallybook(world, "runs", "diff", run, "--against", run, "--json")
    assert same.document == {"run": run, "against": run, "changed": []}

    away = await tallybook(
        world,
        *("runs", "start", period, "--send", "--json"),
        TALLYBOOK_STRIPE_API_KEY="sk_live_wrong",
    )
    assert (away.status, away.document["state"]) == (1, "paused")
    assert away.document["states"] == {"frozen": 2}
    assert "TALLYBOOK_STRIPE_API_KEY" in away.document["paused_because"]
    assert "TALLYBOOK_STRIPE_API_KEY" in away.err
    held = await tallybook(world, "runs", "send", run)
    assert (held.status, "to go on: runs resume" in held.err) == (1, True)

    sent = await tallybook(world, "runs", "resume", run, "--json")
    assert (sent.status, sent.document["state"]) == (0, "done")
    again = await tallybook(world, "runs", "start", period, "--send", "--json")
    assert (again.status, again.document) == (0, sent.document)
    shown = await tallybook(world, "runs", "show", run, "--json")
    assert shown.document == sent.document
    runs = await tallybook(world, "runs", "list", "--json")
    assert [(one["id"], one["states"]) for one in runs.document["runs"]] == [
        (run, {"finalized": 2})
    ]

    invoices = await tallybook(world, "invoices", "list", "--period", period, "--json")
    totals = {one["customer"]: one["total"] for one in invoices.document["invoices"]}
    assert totals == {"acme": "10.00", "bob": "2.51"}
    (bob,) = [one for one in invoices.document["invoices"] if one["customer"] == "bob"]
    whole = await tallybook(world, "invoices", "show", bob["id"], "--json")
    assert [(one["exact_amount"], one["amount"]) for one in whole.document["lines"]] == [
        ("2.5", "2.50"),
        ("0.005", "0.01"),
    ]


async def test_a_reconciliation_that_is_not_clean_ends_with_1(world: World, tmp_path: Path) -> None:
    """These line items were made by hand: no event stands behind them."""
    page, books = tmp_path / "page.html", tmp_path / "books"
    ran = await tallybook(
        world,
        *("reconcile", str(world.period), "--html", str(page), "--csv", str(books), "--json"),
    )
    assert (ran.status, ran.document["clean"]) == (1, False)
    critical = [one for one in ran.document["differences"] if one["severity"] == "critical"]
    assert {one["class"] for one in critical} == {"billed_twice"}
    assert "Not clean" in page.read_text()
    assert sorted(file.name for file in books.iterdir()) == ["differences.csv", "stages.csv"]
    for_people = await tallybook(world, "reconcile", str(world.period))
    assert for_people.status == 1
    assert "NOT clean" in for_people.out


async def test_an_empty_month_is_clean(world: World) -> None:
    period = str(world.period.previous())
    ran = await tallybook(world, "reconcile", period, "--json")
    assert (ran.status, ran.document["clean"]) == (0, True)
    for_people = await tallybook(world, "reconcile", period)
    assert (for_people.status, "is clean" in for_people.out) == (0, True)


@pytest.mark.parametrize(
    "command",
    [
        ("periods", "list"),
        ("runs", "list"),
        ("invoices", "list"),
        ("runs", "preview", "2020-01"),
    ],
)
async def test_for_a_person_there_is_a_table_or_a_word(
    world: World, command: tuple[str, ...]
) -> None:
    ran = await tallybook(world, *command)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.strip()


@pytest.mark.parametrize(
    ("command", "status", "word"),
    [
        (("runs", "show", "run_1999-01"), 1, "there is no run 'run_1999-01'"),
        (("runs", "send", "run_1999-01"), 1, "there is no run 'run_1999-01'"),
        (("invoices", "show", "inv_0"), 1, "there is no invoice 'inv_0'"),
        (("periods", "close", "9000-01"), 1, "is not over before"),
        (("periods", "close", "2026-13"), 2, "'2026-13' is not a period"),
        (("reconcile", "October"), 2, "'October' is not a period"),
        (("invoices", "list", "--period", "x"), 2, "'x' is not a period"),
    ],
)
async def test_a_wrong_command_is_told_in_words(
    world: World, command: tuple[str, ...], status: int, word: str
) -> None:
    ran = await tallybook(world, *command, COLUMNS="200")
    assert (ran.status, ran.out) == (status, "")
    assert word in ran.err
    assert "Traceback" not in ran.err


async def test_without_a_connection_a_command_ends_with_2(world: World) -> None:
    nowhere = "postgresql://postgres@127.0.0.1:9/tallybook"
    ran = await tallybook(world, "runs", "list", "--json", TALLYBOOK_DATABASE_URL=nowhere)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.strip().splitlines()) == 1
