"""A customer at Stripe is made once, kept in step, and made anew when it was deleted there."""

from collections.abc import AsyncIterator

import pytest
from starlette.responses import JSONResponse, Response

from tests.infra.stripe_sandbox.checked import ok
from tests.integration.harness.world import World
from tests.services.invoicer.proxy import Call, LostError, give_back, pass_on
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month
from tests.services.invoicer.stripe_side import Json


@pytest.fixture
async def month(world: World) -> AsyncIterator[SentMonth]:
    async with sent_month(world, acme=ITEMS) as made:
        yield made


async def _send_again(month: SentMonth) -> str:
    """Void the customer's invoice and send the one in its place."""
    await month.void(await month.invoice(), reissue=True)
    return await month.send()


async def _twins(month: SentMonth) -> list[tuple[str, str]]:
    return [(one["name"], one["email"]) for one in await month.stripe.customers()]


async def test_what_changed_here_is_changed_there_before_the_next_invoice(
    month: SentMonth,
) -> None:
    assert await _twins(month) == [("Customer acme", "acme@example.com")]
    for name, email in (("Acme Ltd", "ada@acme.test"), ("Acme", "ben@acme.test")) * 2:
        await month.world.fetch("UPDATE customers SET name = $1, email = $2", name, email)
        calls = len(month.proxy.calls)
        assert await _send_again(month) == "done"
        assert await _twins(month) == [(name, email)]
        made = [one.name for one in month.proxy.calls[calls:] if one.method == "POST"]
        assert made.index("POST customers") < made.index("POST invoices")
    calls = len(month.proxy.calls)
    assert await _send_again(month) == "done"
    assert "POST customers" not in [one.name for one in month.proxy.calls[calls:]]


async def test_an_update_whose_answer_is_lost_is_told_again(month: SentMonth) -> None:
    await month.world.fetch("UPDATE customers SET name = 'Acme Ltd'")

    async def lose(call: Call, answer: Response) -> Response:
        if call.path.startswith("/v1/customers/"):
            raise LostError
        return answer

    month.proxy.after = lose
    assert await _send_again(month) == "failed"
    assert await month.states() == ["void", "failed_retryable"]
    month.proxy.after = give_back
    assert await month.send() == "done"
    assert await _twins(month) == [("Acme Ltd", "acme@example.com")]


@pytest.mark.parametrize("renamed", [False, True])
async def test_one_who_was_deleted_at_stripe_is_made_anew(month: SentMonth, renamed: bool) -> None:
    (old,) = await month.stripe.customers()
    ok(await month.stripe.api.http.delete(f"/v1/customers/{old['id']}"))
    if renamed:
        await month.world.fetch("UPDATE customers SET name = 'Acme Ltd'")
    assert await _send_again(month) == "done"
    (new,) = await month.stripe.customers()
    assert new["id"] != old["id"]
    assert new["metadata"] == {"tallybook_customer": "acme"}
    assert await month.states() == ["void", "finalized"]
    newest = (await month.stripe.invoices("acme"))[0]
    assert (newest["customer"], newest["status"], newest["total"]) == (new["id"], "open", 1500)


async def test_one_made_by_an_unanswered_call_under_an_older_name_is_brought_in_step(
    month: SentMonth,
) -> None:
    await month.world.fetch("DELETE FROM stripe_customers")
    await month.world.fetch("UPDATE customers SET name = 'Acme Ltd'")
    assert await _send_again(month) == "done"
    assert await _twins(month) == [("Acme Ltd", "acme@example.com")]


async def _interrupted(month: SentMonth, step: str, *, lost: bool = False) -> Json:
    """Void the customer's invoice, and let the one in its place come no further than a step.

    Gives the customer at Stripe, who is then deleted there.
    """

    async def fail(call: Call) -> Response | None:
        return JSONResponse({}, 503) if call.name == step and not lost else None

    async def lose(call: Call, answer: Response) -> Response:
        if call.name == step and lost:
            raise LostError
        return answer

    month.proxy.before, month.proxy.after = fail, lose
    assert await _send_again(month) != "done"
    month.proxy.before, month.proxy.after = pass_on, give_back
    (old,) = await month.stripe.customers()
    ok(await month.stripe.api.http.delete(f"/v1/customers/{old['id']}"))
    return old


@pytest.mark.parametrize(
    ("step", "renamed", "with_drafts"),
    [
        ("POST invoices/add_lines", False, False),
        ("POST invoices/finalize", False, False),
        ("POST invoices/finalize", True, False),
        ("POST invoices/finalize", False, True),
    ],
)
async def test_a_draft_left_by_one_who_was_deleted_is_made_anew(
    month: SentMonth, step: str, renamed: bool, with_drafts: bool
) -> None:
    """Whether or not the draft went with the customer."""
    old = await _interrupted(month, step)
    draft = (await month.invoice()).stripe_invoice_id
    assert draft is not None
    if with_drafts:
        await month.stripe.delete_draft(draft)
    if renamed:
        await month.world.fetch("UPDATE customers SET name = 'Acme Ltd'")
    assert await month.send() == "done"
    assert await month.states() == ["void", "finalized"]
    held = [(one["status"], one["customer"] == old["id"]) for one in await month.stripe.invoices()]
    assert held == [("open", False), ("void", True)]


async def test_a_final_invoice_of_one_who_was_deleted_and_renamed_goes_to_review(
    month: SentMonth,
) -> None:
    await _interrupted(month, "POST invoices/finalize", lost=True)
    await month.world.fetch("UPDATE customers SET name = 'Acme Ltd'")
    assert await month.send() != "done"
    invoice = await month.invoice()
    assert (invoice.state, len(await month.stripe.invoices())) == ("needs_review", 2)
    assert f"invoices void {invoice.id} --reissue" in (invoice.last_error or "")
    assert await _send_again(month) == "done"
    assert await month.held() == [("open", 1500), ("void", 1500), ("void", 1500)]
