"""The journal of a month: balanced by currency, equal to the invoices, split to the minor unit."""

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.invoicer.exporting import journal_reading
from services.invoicer.exporting.encoding import Format
from services.invoicer.exporting.journal import JournalError
from services.invoicer.exporting.kinds import Kind
from shared.money import from_minor
from tests.integration.conftest import OpenWorld
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.exporting.in_process import exported
from tests.services.invoicer.exporting.reading_back import Rows, read_back
from tests.services.invoicer.postings import Item

STATES = {
    "acme": "finalized",
    "jpn": "paid",
    "kuw": "uncollectible",
    "least": "carried_forward",
    "mistaken": "void",
    "waiting": "needs_review",
    "wide": "sent",
}


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A month of invoices in all kinds of states and currencies; that of `wide` is collapsed."""
    async with new_world() as made:
        await made.apply_catalogue()
        customers = {
            "acme": [Item("2.01"), Item("-0.05", "discount")],
            "jpn": [Item("250", currency="JPY")],
            "kuw": [Item("1.005", currency="KWD")],
            "least": [Item("0.10")],
            "mistaken": [Item("5")],
            "waiting": [Item("3")],
            "wide": [Item("1.004"), Item("2.003", "other")],
        }
        await months.fill_month(made, customers)
        await months.start(made)
        for customer, state in STATES.items():
            await made.fetch("UPDATE invoices SET state = $2 WHERE customer_id = $1",
                             customer, state)  # fmt: skip
        await collapse(made, "wide")
        yield made


async def collapse(world: World, customer: str) -> None:
    """Make one line of an invoice's two, of no contract or charge: 3.007, which is 3.01."""
    mine = f"(SELECT id FROM invoices WHERE customer_id = '{customer}')"
    for change in (
        f"UPDATE invoice_line_items SET position = 1 WHERE invoice_id = {mine}",
        f"DELETE FROM invoice_lines WHERE invoice_id = {mine} AND position = 2",
        (
            "UPDATE invoice_lines SET contract_id = '', charge = '', band = '2 lines',"
            f" exact_amount = 3.007, amount_minor = 301 WHERE invoice_id = {mine}"
        ),
        f"UPDATE invoices SET total_minor = 301 WHERE id = {mine}",
    ):
        await world.fetch(change)


async def journal(world: World, form: str = "json", accounts: Path | None = None) -> Rows:
    """Make the journal, and read it back."""
    settings = world.settings.model_copy(update={"journal_accounts": accounts})
    told: list[str | None] = []
    data = await exported(world, Kind.JOURNAL, form, settings=settings, told=told.append)
    assert told == [f"not all invoices of {world.period} are final: 1 needs_review"]
    return read_back(form, data)


def net(rows: Rows, *names: str) -> dict[Any, Decimal]:
    """Give debits less credits by the named columns; what comes to nothing is left out."""
    sums: dict[Any, Decimal] = defaultdict(Decimal)
    for row in rows:
        key = tuple(row[name] for name in names) if len(names) > 1 else row[names[0]]
        sums[key] += Decimal(row["debit"]) - Decimal(row["credit"])
    return {key: amount for key, amount in sums.items() if amount}


@pytest.mark.parametrize("form", list(Format))
async def test_it_balances_and_comes_to_what_the_invoices_come_to(world: World, form: str) -> None:
    rows = await journal(world, form)
    assert net(rows, "entry") == {}
    assert net(rows, "currency") == {}
    invoices = await world.fetch(
        "SELECT customer_id, currency, total_minor FROM invoices"
        " WHERE state IN ('finalized', 'sent', 'paid', 'uncollectible')"
    )
    owed = [row for row in rows if row["account"] == "1200"]
    assert net(owed, "customer", "currency") == {
        (one["customer_id"], one["currency"]): from_minor(one["total_minor"], one["currency"])
        for one in invoices
    }
    assert not any(row["customer"] == "waiting" for row in rows)
    last = world.period.start.date().replace(day=world.period.days)
    days = {row["date"] for row in rows if "/" not in row["entry"]}
    assert days == {last if form == "parquet" else last.isoformat()}


async def test_revenue_is_by_plan_and_component_to_the_cent(world: World) -> None:
    rows = await journal(world)
    acme = [row for row in rows if row["customer"] == "acme" and row["component"]]
    # 2.01 is 0.50, 0.30, 0.71 and 0.50; the discount of 0.05 is 0.01, 0.01, 0.02 and 0.01.
    assert net(acme, "plan", "component") == {
        ("byok", "infrastructure"): Decimal("-0.49"),
        ("byok", "security"): Decimal("-0.29"),
        ("byok", "features"): Decimal("-0.69"),
        ("byok", "support"): Decimal("-0.49"),
    }
    wide = [row for row in rows if row["customer"] == "wide" and row["component"]]
    assert sum(net(wide, "component").values()) == Decimal("-3.01")
    assert {row["charge"] for row in wide} == {"executions"}
    (jpn,) = [row for row in rows if row["customer"] == "jpn" and row["account"] == "1200"]
    assert (jpn["debit"], jpn["credit"]) == ("250", "0")
    (kuw,) = [row for row in rows if row["customer"] == "kuw" and row["account"] == "1200"]
    assert (kuw["debit"], kuw["credit"]) == ("1.010", "0.000")


async def test_what_is_carried_forward_or_void_is_no_receivable(world: World) -> None:
    rows = await journal(world)
    (least,) = [row for row in rows if row["customer"] == "least" and not row["plan"]]
    assert (least["account"], least["debit"]) == ("1210", "0.10")
    mistaken = [row for row in rows if row["customer"] == "mistaken"]
    assert net(mistaken, "account") == {}
    back = {date.fromisoformat(row["date"]) for row in mistaken if row["entry"].endswith("/void")}
    (changed,) = await world.fetch("SELECT changed_at FROM invoices WHERE state = 'void'")
    assert back == {changed["changed_at"].date()}


async def test_it_is_the_same_however_few_lines_are_read_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await journal(world)
    for few in (1, 2, 3):
        monkeypatch.setattr(journal_reading, "_LINES_AT_ONCE", few)
        assert await journal(world) == whole


async def test_the_accounts_can_be_ones_own(world: World, tmp_path: Path) -> None:
    file = tmp_path / "accounts.yaml"
    file.write_text("receivable: {number: 1400, name: Forderungen}")
    rows = await journal(world, accounts=file)
    assert {row["account_name"] for row in rows if row["account"] == "1400"} == {"Forderungen"}
    assert not any(row["account"] == "1200" for row in rows)


async def test_books_that_do_not_add_up_are_refused(world: World) -> None:
    change = "UPDATE invoices SET total_minor = total_minor + {} WHERE customer_id = 'acme'"
    await world.fetch(change.format(1))
    with pytest.raises(JournalError, match="its lines are 196; see: tallybook reconcile"):
        await journal(world)
    await world.fetch(change.format(-1))
