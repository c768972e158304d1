"""An invoice is voided at Stripe and here, and issued again once, whatever breaks (I8)."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from starlette.responses import Response

from services.invoicer.following.voiding import InvoicePaidError
from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.gather import gather
from services.invoicer.stripe_objects import StripeFault
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from tests.integration.harness.commands import tallybook
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item
from tests.services.invoicer.proxy import Call, LostError, give_back
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month


@pytest.fixture
async def month(world: World) -> AsyncIterator[SentMonth]:
    async with sent_month(world, acme=ITEMS) as made:
        yield made


async def _classes(month: SentMonth) -> list[str]:
    """Name what the reconciliation finds from the line items of the month to Stripe."""
    world = month.world
    engine = world.engine("tallybook_invoicer")
    found = reconcile(await gather(world.settings, engine, month.gateway, world.period))
    invoiced = [one for one in found.stages if one.source.startswith(("line items p", "invoice"))]
    return sorted({one.name for stage in invoiced for one in stage.differences})


async def test_an_invoice_is_voided_and_the_same_is_sent_again(month: SentMonth) -> None:
    first = await month.invoice()
    voided = await month.void(first, reissue=True)
    assert voided.invoice.state == "void"
    assert voided.reissued is not None
    assert (voided.reissued.revision, voided.reissued.state) == (2, "frozen")
    assert await month.held() == [("void", 1500)]
    assert await month.send() == "done"
    assert await month.states() == ["void", "finalized"]
    assert await month.held() == [("open", 1500), ("void", 1500)]
    assert await month.acts(first.id) == [
        "invoice.finalized invoicer",
        "invoice.void_begun ada",
        "invoice.void ada",
    ]
    assert await month.acts(voided.reissued.id) == [
        "invoice.reissue ada",
        "invoice.finalized invoicer",
    ]
    assert await _classes(month) == ["reissued"]


async def test_voiding_again_changes_nothing_and_a_new_one_is_issued_once(
    month: SentMonth,
) -> None:
    first = await month.invoice()
    await month.void(first)
    assert await _classes(month) == ["void_not_reissued"]
    calls = len(month.proxy.calls)
    for _ in range(2):
        await month.void(first, reissue=True)
    assert await month.states() == ["void", "frozen"]
    assert len(month.proxy.calls) == calls
    await month.send()
    await month.void(await month.invoice(), reissue=True)
    assert await month.send() == "done"
    assert await month.states() == ["void", "void", "finalized"]
    assert [status for status, _ in await month.held()] == ["open", "void", "void"]


async def test_a_void_that_was_cut_short_is_finished_by_asking_again(month: SentMonth) -> None:
    first = await month.invoice()

    async def lose(call: Call, answer: Response) -> Response:
        if call.name == "POST invoices/void":
            raise LostError
        return answer

    month.proxy.after = lose
    with pytest.raises(StripeFault, match="does not answer"):
        await month.void(first, reissue=True)
    assert await month.states() == ["finalized"]
    assert await month.held() == [("void", 1500)]
    month.proxy.after = give_back
    await month.void(first, reissue=True)
    assert await month.send() == "done"
    assert await month.states() == ["void", "finalized"]


async def test_a_paid_invoice_is_not_voided_and_the_way_out_is_said(month: SentMonth) -> None:
    invoice = await month.invoice()
    await month.at_stripe("acme", "pay", paid_out_of_band=True)
    with pytest.raises(InvoicePaidError, match=f"invoices credit {invoice.id}"):
        await month.void(invoice, reissue=True)
    assert await month.states() == ["finalized"]
    assert await month.acts(invoice.id) == ["invoice.finalized invoicer"]


async def test_what_is_on_its_way_or_without_a_reason_is_not_voided(month: SentMonth) -> None:
    invoice = await month.invoice()
    with pytest.raises(InvalidInputError, match="say why"):
        await month.void(invoice, why=" ")
    await month.world.fetch("UPDATE invoices SET state = 'verified'")
    with pytest.raises(ConflictingStateError, match="on its way to Stripe"):
        await month.void(invoice)
    assert await month.held() == [("open", 1500)]
    invoice.id = "inv_none"
    with pytest.raises(NotFoundError):
        await month.void(invoice)


async def test_void_is_final_and_one_revision_is_live_by_postgres_itself(month: SentMonth) -> None:
    await month.void(await month.invoice(), reissue=True)
    with pytest.raises(asyncpg.RaiseError, match="is void, and stays so"):
        await month.world.fetch("UPDATE invoices SET state = 'creating' WHERE revision = 1")
    with pytest.raises(asyncpg.UniqueViolationError, match="invoices_one_live"):
        await month.world.fetch(
            'INSERT INTO invoices SELECT (jsonb_populate_record(i, \'{"id": "inv_3",'
            ' "billing_key": "k3", "revision": 3, "stripe_invoice_id": null}\')).*'
            " FROM invoices i WHERE revision = 2"
        )


async def test_what_was_never_sent_is_voided_without_stripe(world: World) -> None:
    async with sent_month(world, acme=ITEMS, credit=[Item("0")]) as month:
        await world.fetch(
            "UPDATE invoices SET state = 'needs_review', last_error = 'negative'"
            " WHERE customer_id = 'credit'"
        )
        calls = len(month.proxy.calls)
        voided = await month.void(await month.invoice("credit"))
        assert (voided.invoice.state, voided.reissued) == ("void", None)
        assert len(month.proxy.calls) == calls
        assert await month.send() == "done"
        assert await _classes(month) == ["void_never_sent"]


async def test_the_command_says_what_it_did_and_what_to_do(month: SentMonth) -> None:
    invoice = await month.invoice()
    arguments = ("invoices", "void", invoice.id, "--why", "wrong address", "--reissue")
    ran = await tallybook(month.world, *arguments)
    assert (ran.status, ran.err) == (0, "")
    assert "in its place" in ran.out
    again = await tallybook(month.world, *arguments, "--json")
    assert again.document["invoice"]["state"] == "void"
    assert again.document["reissued"]["revision"] == 2
    await months.send(month.world, month.gateway)
    await month.at_stripe("acme", "pay", paid_out_of_band=True)
    paid = await tallybook(
        month.world, "invoices", "void", again.document["reissued"]["id"], "--why", "x"
    )
    assert paid.status == 1
    assert "to give money back" in paid.err
