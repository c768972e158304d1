"""What the operations on invoices do, from draft to paid or void. I/O: the call's store.

Statuses and their refusals' wording: Stripe's API at 2026-08-26.dahlia as recorded by
seahaven-stripe-world 0.3.0 (resources/invoices.py), and
https://docs.stripe.com/invoicing/overview#invoice-statuses.
"""

from infra.stripe_sandbox import objects
from infra.stripe_sandbox.call import Call, existing, listing, merged_metadata
from infra.stripe_sandbox.errors import missing_parameter, refused
from infra.stripe_sandbox.events import emit, happened
from infra.stripe_sandbox.ids import new_id
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.store import Store

MOST_LINES = 250
"""How many lines an invoice holds."""

_DAY = 86_400
_PLAIN = ("auto_advance", "collection_method", "custom_fields", "description", "footer")


def create(call: Call) -> Json:
    """Make a draft without lines; pending items are never taken in."""
    values = call.values
    owner = existing(call, "customer", values["customer"], "customer", status=400)
    document = objects.invoice(new_id("in"), call.now, owner, values)
    _set_due_date(document, values.get("days_until_due"))
    call.store.put(document)
    return happened(call, "invoice.created", _shown(call, document))


def retrieve(call: Call) -> Json:
    """Give an invoice with its first lines."""
    return _shown(call, existing(call, "invoice", call.object_id, "invoice"))


def page(call: Call) -> Json:
    """List invoices, the newest first."""
    answer = listing(call, "invoice", "/v1/invoices")
    answer["data"] = [_shown(call, document) for document in answer["data"]]
    return answer


def update(call: Call) -> Json:
    """Change a draft; of a finalized invoice, only the metadata."""
    document = existing(call, "invoice", call.object_id, "id")
    values = call.values
    others = sorted(set(values) - {"metadata"})
    if document["status"] != "draft" and others:
        raise refused("Finalized invoices can't be updated in this way", param=others[0])
    document.update({name: values[name] for name in _PLAIN if name in values})
    if "automatic_tax" in values:
        document["automatic_tax"] = objects.automatic_tax(values["automatic_tax"]["enabled"])
    _set_due_date(document, values.get("days_until_due"))
    document["metadata"] = merged_metadata(document, call)
    call.store.put(document)
    return happened(call, "invoice.updated", _shown(call, document))


def delete(call: Call) -> Json:
    """Delete a draft for good."""
    document = existing(call, "invoice", call.object_id, "invoice")
    if document["status"] != "draft":
        raise refused("You can only delete draft invoices.")
    happened(call, "invoice.deleted", _shown(call, document))
    call.store.remove(call.object_id)
    return objects.deleted("invoice", call.object_id)


def add_lines(call: Call) -> Json:
    """Append lines to a draft; all of them or none."""
    document = existing(call, "invoice", call.object_id, "invoice")
    if document["status"] != "draft":
        message = "Invalid invoice: This invoice is no longer editable"
        raise refused(message, code="invoice_not_editable")
    _owner(call, document)
    given = call.values["lines"]
    if call.store.count_lines(document["id"]) + len(given) > MOST_LINES:
        message = f"An invoice can have at most {MOST_LINES} line items."
        raise refused(message, param="lines")
    for index, values in enumerate(given):
        _check_line(index, values)
    lines = [objects.line(new_id("il"), new_id("ii"), document, values) for values in given]
    call.store.add_lines(document["id"], lines)
    document.update(objects.totals(document["subtotal"] + sum(line["amount"] for line in lines)))
    document["metadata"] = merged_metadata(document, call, "invoice_metadata")
    call.store.put(document)
    return happened(call, "invoice.updated", _shown(call, document))


def list_lines(call: Call) -> Json:
    """List an invoice's lines in the order they were added."""
    existing(call, "invoice", call.object_id, "invoice")
    lines, more = call.store.lines_page(call.object_id, call.values)
    return objects.listing(f"/v1/invoices/{call.object_id}/lines", lines, more)


def finalize(call: Call) -> Json:
    """Turn a draft into a claim on the customer."""
    document = existing(call, "invoice", call.object_id, "id")
    if document["status"] != "draft":
        raise refused(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        )
    if "auto_advance" in call.values:
        document["auto_advance"] = call.values["auto_advance"]
    _finalize(call, document)
    return _shown(call, document)


def send(call: Call) -> Json:
    """Send an invoice, which finalizes a draft; as in Stripe's test mode no e-mail goes out."""
    document = existing(call, "invoice", call.object_id, "invoice")
    if document["status"] == "draft":
        _finalize(call, document)
    elif document["status"] != "open" or document["collection_method"] != "send_invoice":
        raise refused(
            "This invoice cannot be sent right now. Please contact us via"
            " https://support.stripe.com/contact with details, so we can help."
        )
    return happened(call, "invoice.sent", _shown(call, document))


def pay(call: Call) -> Json:
    """Mark an invoice as paid outside Stripe; the sandbox holds no means of payment."""
    document = existing(call, "invoice", call.object_id, "id")
    if document["status"] == "paid":
        raise refused("Invoice is already paid")
    if document["status"] == "draft":
        _finalize(call, document)
    if document["status"] != "paid":
        _check_status(document, "open", "uncollectible")
        if not call.values.get("paid_out_of_band"):
            raise refused(
                "There is no `default_payment_method` set on this Customer or Invoice. The"
                " sandbox takes no payment methods: pass paid_out_of_band=true."
            )
        _mark_paid(call, document)
    return _shown(call, document)


def void(call: Call) -> Json:
    """Cancel a finalized, unpaid invoice; its amounts stay as they were."""
    document = existing(call, "invoice", call.object_id, "id")
    if document["status"] == "paid":
        raise refused("Invoices with `paid` payments cannot be voided.")
    _check_status(document, "open", "uncollectible")
    return _moved(call, document, "void", "voided_at", "invoice.voided")


def mark_uncollectible(call: Call) -> Json:
    """Write an open invoice off."""
    document = existing(call, "invoice", call.object_id, "id")
    if document["status"] == "uncollectible":
        raise refused("This invoice has already been marked uncollectible.")
    _check_status(document, "open")
    return _moved(
        call,
        document,
        "uncollectible",
        "marked_uncollectible_at",
        "invoice.marked_uncollectible",
    )


def credit(call: Call, document: Json, pre_payment: int, post_payment: int, balance: int) -> None:
    """Let a credit note lower what is open of an invoice, or say what of it was paid back.

    `balance` of that is added to what the customer is owed, in minor units like the others.
    """
    document["amount_due"] -= pre_payment
    document["amount_remaining"] -= pre_payment
    document["pre_payment_credit_notes_amount"] += pre_payment
    document["post_payment_credit_notes_amount"] += post_payment
    call.store.put(document)
    found = call.store.get("customer", document["customer"])
    if balance and found is not None:
        found[0].update(balance=found[0]["balance"] - balance, currency=document["currency"])
        call.store.put(found[0])
    if document["status"] == "open" and document["amount_remaining"] == 0:
        _mark_paid(call, document)
    else:
        happened(call, "invoice.updated", _shown(call, document))


def overdue(store: Store, now: int) -> None:
    """Note which open invoices are past the day on which they were due, each once."""
    for document in store.newly_overdue(now):
        lines, more = store.lines_page(document["id"], {"limit": objects.SHOWN_LINES})
        shown = objects.shown_invoice(document, lines, more)
        emit(store, now, "invoice.overdue", shown)


def _finalize(call: Call, document: Json) -> None:
    """Number a draft, settle the customer's balance, and open it; nothing due is paid at once."""
    owner = _owner(call, document)
    starting = owner["balance"] if owner["currency"] in (None, document["currency"]) else 0
    due, ending = objects.settle(document["total"], starting)
    page_url = f"{call.public_url}/i/{document['id']}"
    document.update(
        status="open",
        number=f"{owner['invoice_prefix']}-{owner['next_invoice_sequence']:04d}",
        starting_balance=starting,
        ending_balance=ending,
        amount_due=due,
        amount_remaining=due,
        effective_at=call.now,
        hosted_invoice_url=page_url,
        invoice_pdf=f"{page_url}/pdf",
    )
    document["status_transitions"]["finalized_at"] = call.now
    owner["next_invoice_sequence"] += 1
    if ending != starting:
        owner.update(balance=ending, currency=document["currency"])
    call.store.put(owner)
    document["attempted"] = due == 0
    call.store.put(document)
    happened(call, "invoice.finalized", _shown(call, document))
    if due == 0:
        _mark_paid(call, document)


def _owner(call: Call, draft: Json) -> Json:
    """Give a draft's customer: nothing more is done for one who was deleted.

    https://docs.stripe.com/api/customers/delete. The draft itself stays, and can be deleted.
    """
    return existing(call, "customer", draft["customer"], "customer", status=400)


def _mark_paid(call: Call, document: Json) -> None:
    document.update(
        status="paid",
        auto_advance=False,
        amount_paid=document["amount_due"],
        amount_remaining=0,
    )
    document["status_transitions"]["paid_at"] = call.now
    call.store.put(document)
    happened(call, "invoice.paid", _shown(call, document))


def _moved(call: Call, document: Json, status: str, transition: str, event: str) -> Json:
    document["status"] = status
    document["auto_advance"] = False
    document["status_transitions"][transition] = call.now
    call.store.put(document)
    return happened(call, event, _shown(call, document))


def _shown(call: Call, document: Json) -> Json:
    lines, more = call.store.lines_page(document["id"], {"limit": objects.SHOWN_LINES})
    return objects.shown_invoice(document, lines, more)


def _check_status(document: Json, *allowed: str) -> None:
    if document["status"] not in allowed:
        raise refused("You can only pass in open invoices. This invoice isn't open.")


def _set_due_date(document: Json, days: int | None) -> None:
    """Set when an invoice that is sent is due, in days from its creation."""
    sent = document["collection_method"] == "send_invoice"
    if not sent and days is not None:
        raise refused(
            "You can only specify 'due_date' or 'days_until_due' if invoice collection method is"
            " 'send_invoice'."
        )
    if not sent:
        document["due_date"] = None
    elif days is not None:
        document["due_date"] = document["created"] + days * _DAY
    elif document["due_date"] is None:
        raise refused(
            "If invoice collection method is 'send_invoice', you must specify 'due_date' or"
            " 'days_until_due'."
        )


def _check_line(index: int, values: Json) -> None:
    """Stripe takes an amount or a quantity, never both; the sandbox has no prices to multiply."""
    if "amount" not in values:
        raise missing_parameter(f"lines[{index}][amount]")
    if "quantity" in values:
        message = "You may only specify one of these parameters: amount, quantity."
        raise refused(message, param=f"lines[{index}][amount]")
