"""What the operations on credit notes do. I/O: the call's store.

The rules are Stripe's, https://docs.stripe.com/api/credit_notes: a note on an open invoice lowers
what remains to be paid; one on a paid invoice is paid back, to the customer's balance or outside
Stripe, as the sandbox holds no means of payment.
"""

from infra.stripe_sandbox import invoices, objects
from infra.stripe_sandbox.call import Call, existing, listing, merged_metadata
from infra.stripe_sandbox.errors import missing_resource, refused
from infra.stripe_sandbox.events import happened
from infra.stripe_sandbox.ids import new_id
from infra.stripe_sandbox.objects import Json


def create(call: Call) -> Json:
    """Issue a credit note for lines of a finalized invoice."""
    invoice = existing(call, "invoice", call.values["invoice"], "invoice", status=400)
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise refused(
            "You can only create a credit note for an open, paid or uncollectible invoice."
            f" This invoice is {invoice['status']}.",
            param="invoice",
        )
    before = _of_invoice(call, invoice["id"])
    lines = [
        _line(call, index, values, invoice, before)
        for index, values in enumerate(call.values["lines"])
    ]
    total = sum(line["amount"] for line in lines)
    pre, post = _split(invoice, total, call.values)
    note = objects.credit_note(
        new_id("cn"),
        call.now,
        invoice,
        {**call.values, "metadata": call.values.get("metadata")},
        lines,
        number=f"{invoice['number']}-CN-{len(before) + 1:02d}",
        pre_payment=pre,
        post_payment=post,
    )
    call.store.put(note)
    invoices.credit(call, invoice, pre, post, call.values.get("credit_amount", 0))
    return happened(call, "credit_note.created", note)


def retrieve(call: Call) -> Json:
    """Give a credit note."""
    return existing(call, "credit_note", call.object_id, "id")


def page(call: Call) -> Json:
    """List credit notes, the newest first."""
    return listing(call, "credit_note", "/v1/credit_notes")


def update(call: Call) -> Json:
    """Change a credit note's metadata."""
    note = existing(call, "credit_note", call.object_id, "id")
    note["metadata"] = merged_metadata(note, call)
    call.store.put(note)
    return happened(call, "credit_note.updated", note)


def void(call: Call) -> Json:
    """Take a credit note back, as long as its invoice is not paid."""
    note = existing(call, "credit_note", call.object_id, "id")
    invoice = existing(call, "invoice", note["invoice"], "invoice")
    if note["status"] != "issued" or invoice["status"] != "open":
        raise refused("You can only void an issued credit note of an open invoice.")
    note.update(status="void", voided_at=call.now)
    call.store.put(note)
    invoices.credit(call, invoice, -note["pre_payment_amount"], 0, 0)
    return happened(call, "credit_note.voided", note)


def _of_invoice(call: Call, invoice: str) -> list[Json]:
    return [one for one in call.store.all("credit_note") if one["invoice"] == invoice]


def _line(call: Call, index: int, values: Json, invoice: Json, before: list[Json]) -> Json:
    param = f"lines[{index}][invoice_line_item]"
    wanted = values.get("invoice_line_item", "")
    of = call.store.line(invoice["id"], wanted)
    if of is None:
        raise missing_resource("line item", wanted, param, status=400)
    credited = sum(
        line["amount"]
        for note in before
        if note["status"] == "issued"
        for line in note["lines"]["data"]
        if line["invoice_line_item"] == wanted
    )
    if not 0 < values["amount"] <= of["amount"] - credited:
        raise refused(
            f"The amount ({values['amount']}) must be above zero and at most what of the line is"
            f" not credited yet ({of['amount'] - credited}).",
            param=f"lines[{index}][amount]",
        )
    return objects.credit_note_line(new_id("cnli"), of, values["amount"])


def _split(invoice: Json, total: int, values: Json) -> tuple[int, int]:
    """Give what lowers the open amount, and what is paid back; it must be said how."""
    pre = min(total, invoice["amount_remaining"]) if invoice["status"] != "paid" else 0
    post = total - pre
    said = values.get("credit_amount", 0) + values.get("out_of_band_amount", 0)
    if said != post:
        raise refused(
            "The sum of credit_amount and out_of_band_amount must be what is paid back"
            f" ({post}); it is {said}."
        )
    return pre, post
