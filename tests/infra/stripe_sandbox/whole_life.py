"""An invoice's whole life, asked for by Stripe's own SDK. I/O: wherever its client goes to."""

from typing import Any

import stripe

from services.invoicer.following.events import TYPES


async def live_a_whole_life(sdk: stripe.StripeClient) -> None:
    """Take invoices all their ways, with every operation that the sandbox has."""
    v1 = sdk.v1
    customer = await v1.customers.create_async(
        {
            "name": "Ada",
            "email": "ada@example.com",
            "address": {"country": "DE"},
            "metadata": {"a": "1"},
        }
    )
    await v1.customers.update_async(customer.id, {"description": "new", "metadata": {"a": ""}})
    read = (await v1.customers.retrieve_async(customer.id)).to_dict()
    assert (read["description"], read["metadata"]) == ("new", {})
    found = await v1.customers.list_async({"email": "ada@example.com", "created": {"gte": 1}})
    assert [one.id for one in found.data] == [customer.id]

    sent = await _draft(sdk, customer.id)
    paid, void, lost, draft = [await _copy(sdk, customer.id) for _ in range(4)]
    await v1.invoices.update_async(sent, {"metadata": {"step": "verified"}})
    await v1.invoices.finalize_invoice_async(sent, {"auto_advance": False})
    assert (await v1.invoices.send_invoice_async(sent)).status == "open"
    assert (await v1.invoices.pay_async(paid, {"paid_out_of_band": True})).status == "paid"
    for one in (void, lost):
        await v1.invoices.finalize_invoice_async(one)
    assert (await v1.invoices.void_invoice_async(void)).status == "void"
    assert (await v1.invoices.mark_uncollectible_async(lost)).status == "uncollectible"

    first = await v1.invoices.line_items.list_async(sent, {"limit": 5})
    rest = await v1.invoices.line_items.list_async(
        sent, {"limit": 100, "starting_after": first.data[-1].id}
    )
    assert (len(first.data), first.has_more, len(rest.data), rest.has_more) == (5, True, 7, False)
    listed = await v1.invoices.list_async(
        {"customer": customer.id, "status": "open", "collection_method": "send_invoice", "limit": 1}
    )
    assert [one.id for one in listed.data] == [sent]
    assert (await v1.invoices.retrieve_async(sent)).lines.has_more

    await _credit_notes(sdk, sent, paid)
    await _events_and_endpoints(sdk)
    await v1.invoices.delete_async(draft)
    await v1.customers.delete_async(customer.id)
    assert (await v1.customers.retrieve_async(customer.id)).deleted


async def _draft(sdk: stripe.StripeClient, customer: str) -> str:
    draft = await sdk.v1.invoices.create_async(
        {
            "auto_advance": False,
            "automatic_tax": {"enabled": False},
            "collection_method": "send_invoice",
            "currency": "usd",
            "custom_fields": [{"name": "Month", "value": "2026-10"}],
            "customer": customer,
            "days_until_due": 30,
            "description": "Usage in October",
            "discounts": "",
            "footer": "Thank you",
            "metadata": {"billing_key": "k1", "0": "numeric key"},
            "pending_invoice_items_behavior": "exclude",
        },
        {"idempotency_key": f"draft-{customer}"},
    )
    await sdk.v1.invoices.add_lines_async(
        draft.id,
        {
            "lines": [
                {
                    "amount": 1250,
                    "description": "1,250 executions at 0.01",
                    "discountable": False,
                    "metadata": {"position": str(position)},
                    "period": {"start": 1_788_000_000, "end": 1_790_000_000},
                }
                for position in range(12)
            ]
        },
    )
    return draft.id


async def _credit_notes(sdk: stripe.StripeClient, is_open: str, is_paid: str) -> None:
    notes = sdk.v1.credit_notes
    lines = (await sdk.v1.invoices.line_items.list_async(is_open)).data
    note = await notes.create_async(
        {
            "invoice": is_open,
            "lines": [
                {"type": "invoice_line_item", "invoice_line_item": lines[0].id, "amount": 250}
            ],
            "memo": "a test run",
            "metadata": {"reference": "r1"},
            "reason": "order_change",
        },
        {"idempotency_key": "credit"},
    )
    assert (note.status, note.pre_payment_amount, note.post_payment_amount) == ("issued", 250, 0)
    await notes.update_async(note.id, {"metadata": {"reference": "r2"}})
    read = (await notes.retrieve_async(note.id)).to_dict()
    assert read["metadata"] == {"reference": "r2"}
    assert [one.id for one in (await notes.list_async({"invoice": is_open})).data] == [note.id]
    assert (await notes.void_credit_note_async(note.id)).status == "void"
    (line,) = (await sdk.v1.invoices.line_items.list_async(is_paid)).data
    back = await notes.create_async(
        {
            "invoice": is_paid,
            "lines": [{"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 100}],
            "credit_amount": 60,
            "out_of_band_amount": 40,
        }
    )
    assert (back.type, back.post_payment_amount) == ("post_payment", 100)


async def _events_and_endpoints(sdk: stripe.StripeClient) -> None:
    v1 = sdk.v1
    first = await v1.events.list_async({"limit": 3, "created": {"gte": 1}})
    assert (len(first.data), first.has_more) == (3, True)
    paid = await v1.events.list_async({"type": "invoice.paid"})
    assert {one.type for one in paid.data} == {"invoice.paid"}
    some = await v1.events.list_async({"types": ["invoice.paid", "invoice.voided"]})
    assert {one.type for one in some.data} == {"invoice.paid", "invoice.voided"}
    assert (await v1.events.retrieve_async(paid.data[0].id)).id == paid.data[0].id

    types: list[Any] = list(TYPES)
    made = await v1.webhook_endpoints.create_async(
        {
            "url": "http://127.0.0.1:9/hook",
            "enabled_events": types,
            "api_version": "2026-08-26.dahlia",
            "metadata": {"tallybook": "invoicer"},
        }
    )
    assert (made.secret or "").startswith("whsec_")
    assert "secret" not in (await v1.webhook_endpoints.retrieve_async(made.id)).to_dict()
    assert [one.id for one in (await v1.webhook_endpoints.list_async()).data] == [made.id]
    assert (await v1.webhook_endpoints.delete_async(made.id)).deleted


async def _copy(sdk: stripe.StripeClient, customer: str) -> str:
    draft = await sdk.v1.invoices.create_async({"customer": customer, "currency": "usd"})
    await sdk.v1.invoices.add_lines_async(draft.id, {"lines": [{"amount": 500}]})
    return draft.id
