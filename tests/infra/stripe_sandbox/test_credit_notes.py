"""Credit notes lower what is open, are paid back where it was paid, and never exceed a line."""

from typing import Any

import pytest

from tests.infra.stripe_sandbox.checked import Api, error, ok


async def _invoice(api: Api, *amounts: int) -> tuple[str, list[str]]:
    """Make a finalized invoice; gives its id and those of its lines."""
    made = await api.invoice_of(*amounts)
    ok(await api.post(f"/v1/invoices/{made['id']}/finalize"))
    return made["id"], [line["id"] for line in made["lines"]["data"]]


def _note(invoice: str, line: str, amount: int, **more: Any) -> dict[str, Any]:
    lines = [{"type": "invoice_line_item", "invoice_line_item": line, "amount": amount}]
    return {"invoice": invoice, "lines": lines, **more}


async def test_a_note_on_an_open_invoice_lowers_what_is_left_to_pay(api: Api) -> None:
    invoice, (first, second) = await _invoice(api, 1000, 500)
    note = ok(await api.post("/v1/credit_notes", _note(invoice, first, 300)))
    assert (note["type"], note["total"], note["number"][-5:]) == ("pre_payment", 300, "CN-01")
    read = ok(await api.get(f"/v1/invoices/{invoice}"))
    assert (read["total"], read["amount_due"], read["amount_remaining"]) == (1500, 1200, 1200)
    assert read["pre_payment_credit_notes_amount"] == 300
    ok(await api.post(f"/v1/credit_notes/{note['id']}/void"))
    read = ok(await api.get(f"/v1/invoices/{invoice}"))
    assert (read["amount_remaining"], read["pre_payment_credit_notes_amount"]) == (1500, 0)

    ok(await api.post("/v1/credit_notes", _note(invoice, first, 1000)))
    ok(await api.post("/v1/credit_notes", _note(invoice, second, 500)))
    assert ok(await api.get(f"/v1/invoices/{invoice}"))["status"] == "paid"


async def test_no_more_is_credited_than_the_line_has(api: Api) -> None:
    invoice, (line,) = await _invoice(api, 1000)
    ok(await api.post("/v1/credit_notes", _note(invoice, line, 600)))
    fault = error(await api.post("/v1/credit_notes", _note(invoice, line, 401)), 400)
    assert fault["param"] == "lines[0][amount]"
    ok(await api.post("/v1/credit_notes", _note(invoice, line, 400)))
    for amount in (0, -5):
        error(await api.post("/v1/credit_notes", _note(invoice, line, amount)), 400)


async def test_what_was_paid_is_paid_back_as_it_is_said(api: Api) -> None:
    invoice, (line,) = await _invoice(api, 1000)
    ok(await api.post(f"/v1/invoices/{invoice}/pay", {"paid_out_of_band": True}))
    error(await api.post("/v1/credit_notes", _note(invoice, line, 300)), 400)
    note = ok(await api.post("/v1/credit_notes", _note(invoice, line, 300, credit_amount=300)))
    assert (note["type"], note["post_payment_amount"]) == ("post_payment", 300)
    read = ok(await api.get(f"/v1/invoices/{invoice}"))
    assert (read["status"], read["post_payment_credit_notes_amount"]) == ("paid", 300)
    assert ok(await api.get(f"/v1/customers/{read['customer']}"))["balance"] == -300
    error(await api.post(f"/v1/credit_notes/{note['id']}/void"), 400)


async def test_drafts_and_void_invoices_take_none_and_lines_must_be_theirs(api: Api) -> None:
    draft = await api.invoice_of(100)
    line = draft["lines"]["data"][0]["id"]
    error(await api.post("/v1/credit_notes", _note(draft["id"], line, 1)), 400)
    invoice, _ = await _invoice(api, 100)
    fault = error(await api.post("/v1/credit_notes", _note(invoice, line, 1)), 400)
    assert fault["code"] == "resource_missing"
    ok(await api.post(f"/v1/invoices/{invoice}/void"))
    error(await api.post("/v1/credit_notes", _note(invoice, line, 1)), 400)


@pytest.mark.parametrize(
    ("acts", "last"),
    [
        ((), ["invoice.finalized", "invoice.updated", "invoice.created", "customer.created"]),
        (("send",), ["invoice.sent"]),
        (("void",), ["invoice.voided"]),
        (("mark_uncollectible",), ["invoice.marked_uncollectible"]),
    ],
)
async def test_what_happens_is_told_as_events(
    api: Api, acts: tuple[str, ...], last: list[str]
) -> None:
    invoice, _ = await _invoice(api, 100)
    for act in acts:
        ok(await api.post(f"/v1/invoices/{invoice}/{act}"))
    events = ok(await api.get("/v1/events"))["data"]
    assert [one["type"] for one in events][: len(last)] == last
    assert events[0]["data"]["object"] == ok(await api.get(f"/v1/invoices/{invoice}"))


async def test_a_payment_is_told_after_the_finalizing(api: Api) -> None:
    made = await api.invoice_of(100)
    ok(await api.post(f"/v1/invoices/{made['id']}/pay", {"paid_out_of_band": True}))
    events = ok(await api.get("/v1/events", {"limit": 2}))["data"]
    assert [one["type"] for one in events] == ["invoice.paid", "invoice.finalized"]
