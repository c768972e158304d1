"""Each thing that happens to an invoice is told once, whichever path led there."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from services.invoicer.reopening import reopen_period
from shared.tables.invoicer import Invoice
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item
from tests.services.invoicer.proxy import Call, LostError, give_back
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month


@pytest.fixture
async def month(world: World) -> AsyncIterator[SentMonth]:
    async with sent_month(world, acme=ITEMS) as made:
        yield made


async def _told(world: World) -> list[tuple[str, str]]:
    rows = await world.fetch("SELECT type, subject FROM outbox ORDER BY put_at, type")
    return [(row["type"], row["subject"]) for row in rows]


async def _data(world: World, kind: str) -> dict[str, Any]:
    row = (await world.fetch("SELECT data FROM outbox WHERE type = $1", kind))[0]
    data: dict[str, Any] = json.loads(row["data"])
    return data


async def _until_told(month: SentMonth) -> None:
    await month.follower().catch_up()
    await month.follower().follow_all()


async def test_an_invoice_is_previewed_finalized_and_paid(month: SentMonth) -> None:
    invoice = await month.invoice()
    await month.at_stripe("acme", "pay", paid_out_of_band=True)
    await _until_told(month)
    assert await _told(month.world) == [
        ("invoice.previewed", invoice.id),
        ("invoice.finalized", invoice.id),
        ("invoice.paid", invoice.id),
    ]
    data = await _data(month.world, "invoice.paid")
    assert (data["total"], data["currency"]) == ("15.00", "USD")
    assert (data["invoice"], data["customer"]) == (invoice.id, "acme")
    assert data["stripe_invoice"] == invoice.stripe_invoice_id
    assert (await _data(month.world, "invoice.previewed"))["stripe_invoice"] is None


@pytest.mark.parametrize("path", ["by us", "at stripe", "begun and then followed"])
async def test_a_void_is_told_once_and_so_is_what_stands_in_its_place(
    month: SentMonth, path: str
) -> None:
    first = await month.invoice()
    if path == "at stripe":
        await month.at_stripe("acme", "void")
    elif path == "begun and then followed":
        month.proxy.after = _lost
        with pytest.raises(Exception, match=r"Stripe"):
            await month.void(first)
        month.proxy.after = give_back
        assert await month.states() == ["finalized"]
    if path != "by us":
        await _until_told(month)
    voided = await month.void(first, reissue=True)
    await month.void(first, reissue=True)
    await _until_told(month)
    assert voided.reissued is not None
    assert sorted(await _told(month.world)) == sorted(
        [
            ("invoice.previewed", first.id),
            ("invoice.finalized", first.id),
            ("invoice.void", first.id),
            ("invoice.previewed", voided.reissued.id),
        ]
    )


async def _lost(call: Call, answer: Response) -> Response:
    if call.name == "POST invoices/void":
        raise LostError
    return answer


async def test_one_that_is_adopted_after_a_crash_is_told_once(month: SentMonth) -> None:
    """As if the process had died when Stripe had finalized it and nothing was noted yet."""
    async with month.world.connect() as connection:
        await connection.execute("DELETE FROM outbox WHERE type = 'invoice.finalized'")
    for _ in range(2):
        await month.world.fetch("UPDATE invoices SET state = 'verified'")
        await month.world.fetch("UPDATE invoice_runs SET state = 'failed'")
        assert await month.send() == "done"
    assert await month.held() == [("open", 1500)]
    finalized = [one for one in await _told(month.world) if one[0] == "invoice.finalized"]
    assert finalized == [("invoice.finalized", (await month.invoice()).id)]


async def test_what_is_not_to_be_sent_is_no_preview_and_what_changed_is_told_again(
    world: World,
) -> None:
    await world.apply_catalogue()
    await months.fill_month(world, {"acme": [Item("10")], "tiny": [Item("0.01")]})
    await months.start(world)
    engine = world.engine("tallybook_invoicer")
    acme = (await months.invoices(world))["acme"]
    assert await _told(world) == [("invoice.previewed", acme.id)]
    await reopen_period(engine, world.period, why="too early", actor="tests")
    await months.start(world)
    assert len(await _told(world)) == 1
    await reopen_period(engine, world.period, why="too early again", actor="tests")
    async with AsyncSession(engine) as session:
        assert await session.get(Invoice, acme.id) is None
    contract = (await world.fetch("SELECT id FROM contracts WHERE customer_id = 'acme'"))[0]["id"]
    await months.post(world, "acme", contract, [Item("3", "more")])
    await months.start(world)
    assert await _told(world) == [("invoice.previewed", acme.id)] * 2
