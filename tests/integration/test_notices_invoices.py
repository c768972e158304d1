"""Each thing that happens to an invoice is told once, whichever path led there."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from services.invoicer.reopening import reopen_period
from services.invoicer.stripe_objects import StripeFault
from shared.tables.invoicer import Invoice
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item
from tests.services.invoicer.proxy import Call, LostError, give_back
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month


@pytest.fixture
async def month(world: World) -> AsyncIterator[SentMonth]:
    customers = ("paid", "void_by_us", "void_at_stripe", "void_cut_short", "left")
    async with sent_month(world, **dict.fromkeys(customers, ITEMS)) as made:
        yield made


async def _told(world: World, subject: str | None = None) -> list[tuple[str, str]]:
    """Give type and subject of notices, in the order in which they were put."""
    rows = await world.fetch(
        "SELECT type, subject FROM outbox WHERE $1::text IS NULL OR subject = $1"
        " ORDER BY put_at, type",
        subject,
    )
    return [(row["type"].removeprefix("invoice."), row["subject"]) for row in rows]


async def _look(month: SentMonth) -> None:
    """Follow Stripe by every way that there is, twice."""
    for _ in range(2):
        await month.follower().catch_up()
        await month.follower().follow_all()


async def _lose_the_void(call: Call, answer: Response) -> Response:
    if call.name == "POST invoices/void":
        raise LostError
    return answer


async def test_each_fate_of_an_invoice_is_told_once(month: SentMonth) -> None:
    ours = {name: (await month.invoice(name)) for name in ("paid", "void_by_us", "void_at_stripe")}
    cut_short = ours["void_cut_short"] = await month.invoice("void_cut_short")
    await month.at_stripe("paid", "pay", paid_out_of_band=True)
    await month.at_stripe("void_at_stripe", "void")
    month.proxy.after = _lose_the_void
    with pytest.raises(StripeFault):
        await month.void(cut_short)
    month.proxy.after = give_back
    assert await month.states("void_cut_short") == ["finalized"]
    again = (await month.void(ours["void_by_us"], reissue=True)).reissued
    await _look(month)
    for name in ("void_by_us", "void_at_stripe", "void_cut_short"):
        await month.void(ours[name])
    await month.void(ours["void_by_us"], reissue=True)
    await _look(month)
    for name, invoice in ours.items():
        last = "paid" if name == "paid" else "void"
        told = [kind for kind, _ in await _told(month.world, invoice.id)]
        assert told == ["previewed", "finalized", last], name
    assert again is not None
    assert await _told(month.world, again.id) == [("previewed", again.id)]
    left = await month.invoice("left")
    assert len(await _told(month.world)) == 4 * 3 + 1 + 2
    assert [kind for kind, _ in await _told(month.world, left.id)] == ["previewed", "finalized"]

    query = "SELECT type, data FROM outbox WHERE subject = $1"
    rows = await month.world.fetch(query, ours["paid"].id)
    data: dict[str, Any] = {row["type"]: json.loads(row["data"]) for row in rows}
    paid = data["invoice.paid"]
    assert (paid["total"], paid["currency"]) == ("15.00", "USD")
    assert (paid["invoice"], paid["customer"]) == (ours["paid"].id, "paid")
    assert paid["stripe_invoice"] == ours["paid"].stripe_invoice_id
    assert data["invoice.previewed"]["stripe_invoice"] is None


async def test_one_that_is_adopted_after_a_crash_is_told_once(month: SentMonth) -> None:
    """As if the process had died when Stripe had finalized it and nothing was noted yet."""
    async with month.world.connect() as connection:
        await connection.execute("DELETE FROM outbox WHERE type = 'invoice.finalized'")
    for _ in range(2):
        await month.world.fetch("UPDATE invoices SET state = 'verified'")
        await month.world.fetch("UPDATE invoice_runs SET state = 'failed'")
        assert await month.send() == "done"
    assert await month.held("left") == [("open", 1500)]
    finalized = [one for one in await _told(month.world) if one[0] == "finalized"]
    assert len(finalized) == len(set(finalized)) == 5


async def test_what_is_not_to_be_sent_is_no_preview_and_what_changed_is_told_again(
    world: World,
) -> None:
    await world.apply_catalogue()
    await months.fill_month(world, {"acme": [Item("10")], "tiny": [Item("0.01")]})
    await months.start(world)
    engine = world.engine("tallybook_invoicer")
    acme = (await months.invoices(world))["acme"]
    assert await _told(world) == [("previewed", acme.id)]
    await reopen_period(engine, world.period, why="too early", actor="tests")
    await months.start(world)
    assert len(await _told(world)) == 1
    await reopen_period(engine, world.period, why="too early again", actor="tests")
    async with AsyncSession(engine) as session:
        assert await session.get(Invoice, acme.id) is None
    contract = (await world.fetch("SELECT id FROM contracts WHERE customer_id = 'acme'"))[0]["id"]
    await months.post(world, "acme", contract, [Item("3", "more")])
    await months.start(world)
    assert await _told(world) == [("previewed", acme.id)] * 2
