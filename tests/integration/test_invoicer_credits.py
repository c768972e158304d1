"""Money is given back by line: once for each reference, and never more than the line."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from starlette.responses import JSONResponse, Response

from services.invoicer.exporting.kinds import Kind
from services.invoicer.following.crediting import Crediting, Wanted, list_credits
from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.gather import gather
from services.invoicer.stripe_objects import StripeFault
from shared.clock import present
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.tables.invoicer import CreditNote
from tests.infra.stripe_sandbox.checked import ok
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.services.invoicer.exporting.in_process import exported
from tests.services.invoicer.exporting.reading_back import read_back
from tests.services.invoicer.proxy import Call, LostError, give_back, pass_on
from tests.services.invoicer.sent import ACTOR, HURRIED, ITEMS, SentMonth, sent_month

CUSTOMERS = ("open", "paid", "twice", "cut", "refused", "many", "told", "void", "wrong")


@pytest.fixture(scope="module")
async def month(new_world: OpenWorld) -> AsyncIterator[SentMonth]:
    async with new_world() as world, sent_month(world, **dict.fromkeys(CUSTOMERS, ITEMS)) as made:
        yield made


@pytest.fixture(autouse=True)
def _plain(month: SentMonth) -> None:
    month.proxy.before, month.proxy.after = pass_on, give_back


async def _credit(
    month: SentMonth, customer: str, amount: str, reference: str = "t-1", line: int = 1
) -> CreditNote:
    invoice = await month.invoice(customer)
    crediting = Crediting(month.world.engine("tallybook_invoicer"), month.gateway, present, HURRIED)
    wanted = Wanted(line, Decimal(amount), "it was down", reference)
    return await crediting.credit(invoice.id, wanted, actor=ACTOR)


async def _notes(month: SentMonth, customer: str) -> list[tuple[int, int]]:
    """Give what each credit note at Stripe lowers of an invoice, and what it pays back."""
    invoice = await month.invoice(customer)
    query = {"invoice": str(invoice.stripe_invoice_id)}
    page = ok(await month.stripe.api.get("/v1/credit_notes", query))
    return [(one["pre_payment_amount"], one["post_payment_amount"]) for one in page["data"]]


async def _states(month: SentMonth, customer: str) -> list[str]:
    invoice = await month.invoice(customer)
    async with month.world.sessions("tallybook_invoicer") as session:
        return [one.state for one in await list_credits(session, invoice.id)]


async def test_an_open_invoice_is_lowered_and_a_paid_one_paid_back(month: SentMonth) -> None:
    note = await _credit(month, "open", "4.20")
    assert (note.state, note.amount_minor) == ("issued", 420)
    assert await _notes(month, "open") == [(420, 0)]
    await month.at_stripe("paid", "pay", paid_out_of_band=True)
    await _credit(month, "paid", "4.20")
    assert await _notes(month, "paid") == [(0, 420)]
    invoice = await month.invoice("open")
    assert (await month.acts(invoice.id))[-2:] == [
        "invoice.credit_begun ada",
        "invoice.credit ada",
    ]


async def test_the_same_reference_is_the_same_credit(month: SentMonth) -> None:
    first = await _credit(month, "twice", "1")
    same = [await _credit(month, "twice", "1") for _ in range(2)]
    assert {one.id for one in same} == {first.id}
    assert await _notes(month, "twice") == [(100, 0)]
    for amount, line in (("2", 1), ("1", 2)):
        with pytest.raises(ConflictingStateError, match="credit of another line or amount"):
            await _credit(month, "twice", amount, line=line)


async def test_credits_of_a_line_are_never_more_than_the_line(month: SentMonth) -> None:
    """The line is 10; ten at once of 3 each: three of them fit."""
    results = await asyncio.gather(
        *(_credit(month, "many", "3", f"t-{number}") for number in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, CreditNote) for one in results) == 3
    refused = [one for one in results if not isinstance(one, CreditNote)]
    assert all(isinstance(one, InvalidInputError) for one in refused)
    assert "at most 1.00 USD can be credited yet" in str(refused[0])
    assert await _notes(month, "many") == [(300, 0)] * 3
    await _credit(month, "many", "1", "the rest")
    await _credit(month, "many", "5", "the other line", line=2)
    await month.follower().catch_up()
    assert await month.states("many") == ["paid"]


async def test_a_credit_that_was_cut_short_is_finished_by_asking_again(month: SentMonth) -> None:
    async def lose(call: Call, answer: Response) -> Response:
        if call.name == "POST credit_notes":
            raise LostError
        return answer

    month.proxy.after = lose
    with pytest.raises(StripeFault):
        await _credit(month, "cut", "2")
    assert await _states(month, "cut") == ["intended"]
    month.proxy.after = give_back
    month.stripe.forget_keys()
    note = await _credit(month, "cut", "2")
    assert note.state == "issued"
    assert await _notes(month, "cut") == [(200, 0)]


async def test_what_stripe_refuses_is_noted_and_does_not_count(month: SentMonth) -> None:
    async def refuse(call: Call) -> Response | None:
        error = {"type": "invalid_request_error", "message": "as the test wills"}
        return JSONResponse({"error": error}, 400) if call.name == "POST credit_notes" else None

    month.proxy.before = refuse
    with pytest.raises(StripeFault, match="as the test wills"):
        await _credit(month, "refused", "10")
    assert await _states(month, "refused") == ["refused"]
    month.proxy.before = pass_on
    await _credit(month, "refused", "6", "t-2")
    with pytest.raises(InvalidInputError, match=r"at most 4\.00 USD"):
        await _credit(month, "refused", "10")
    assert await _notes(month, "refused") == [(600, 0)]


async def test_what_cannot_be_credited_is_said(month: SentMonth) -> None:
    with pytest.raises(NotFoundError, match="has no line 9"):
        await _credit(month, "wrong", "1", line=9)
    with pytest.raises(InvalidInputError, match="under which reference"):
        await _credit(month, "wrong", "1", reference=" ")
    await month.void(await month.invoice("void"))
    with pytest.raises(ConflictingStateError, match="is void: only a final invoice"):
        await _credit(month, "void", "1")
    await _credit(month, "wrong", "1")
    with pytest.raises(ConflictingStateError, match="has credits"):
        await month.void(await month.invoice("wrong"))
    assert await month.states("wrong") == ["finalized"]


async def test_the_reconciliation_compares_credits(month: SentMonth) -> None:
    world = month.world
    engine = world.engine("tallybook_invoicer")
    await _credit(month, "open", "1", "compared")

    async def credited() -> tuple[list[str], Decimal]:
        found = reconcile(await gather(world.settings, engine, month.gateway, world.period))
        (stage,) = [one for one in found.stages if one.source.startswith("credits")]
        return [one.name for one in stage.differences], stage.amount_from

    before, amount = await credited()
    assert (before, amount > 0) == ([], True)
    query = "UPDATE credit_notes SET amount_minor = 99 WHERE reference = 'compared'"
    await world.fetch(query)
    assert (await credited())[0] == ["credit_mismatch"]
    await world.fetch(query.replace("99", "100"))
    rows = await world.fetch("SELECT * FROM credit_notes WHERE reference = 'compared'")
    note = rows[0]["stripe_credit_note_id"]
    ok(await month.stripe.api.post(f"/v1/credit_notes/{note}/void"))
    assert (await credited())[0] == ["credit_void_in_stripe"]


async def test_the_command_the_invoice_and_the_journal_show_it(month: SentMonth) -> None:
    invoice = await month.invoice("told")
    arguments = ("--line", "1", "--amount", "2.50", "--why", "it was down", "--reference", "t-9")
    for _ in range(2):
        ran = await tallybook(month.world, "invoices", "credit", invoice.id, *arguments, "--json")
        assert ran.status == 0, ran.err
        assert (ran.document["amount"], ran.document["state"]) == ("2.50", "issued")
    shown = await tallybook(month.world, "invoices", "show", invoice.id, "--json")
    assert [one["reference"] for one in shown.document["credits"]] == ["t-9"]
    wrong = await tallybook(
        month.world, "invoices", "credit", invoice.id, *("--line", "1", "--amount", "x"),
        "--why", "w",
    )  # fmt: skip
    assert wrong.status == 2

    rows = read_back("json", await exported(month.world, Kind.JOURNAL, "json"))
    mine = [row for row in rows if row["document_id"] == ran.document["id"]]
    assert {row["document"] for row in mine} == {"credit_note"}
    assert sum(Decimal(row["debit"]) for row in mine) == Decimal("2.50")
    assert sum(Decimal(row["credit"]) for row in mine) == Decimal("2.50")
    (receivable,) = [row for row in mine if row["account_name"] == "Accounts receivable"]
    assert Decimal(receivable["credit"]) == Decimal("2.50")
