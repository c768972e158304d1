"""Stripe's objects as JSON: customers, invoices, lines and lists of them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

SHOWN_LINES = 10
"""How many lines an invoice shows by itself; the rest are listed."""

_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def customer(object_id: str, created: int, invoice_prefix: str, values: Json) -> Json:
    """Make a customer."""
    return {
        "id": object_id,
        "object": "customer",
        "address": address(values),
        "balance": 0,
        "created": created,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": values.get("description"),
        "discount": None,
        "email": values.get("email"),
        "invoice_prefix": invoice_prefix,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata")),
        "name": values.get("name"),
        "next_invoice_sequence": 1,
        "phone": values.get("phone"),
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def address(values: Json) -> Json | None:
    """Make a customer's address from the parameters, with every part or as none."""
    given = values.get("address")
    return None if given is None else {name: given.get(name) for name in _ADDRESS}


def invoice(object_id: str, created: int, owner: Json, values: Json) -> Json:
    """Make a draft of a standalone invoice, without lines."""
    return {
        "id": object_id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Tallybook sandbox",
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": values.get("auto_advance", False),
        "automatic_tax": automatic_tax(values.get("automatic_tax", {}).get("enabled", False)),
        "automatically_finalizes_at": None,
        "billing_reason": "manual",
        "collection_method": values.get("collection_method", "charge_automatically"),
        "created": created,
        "currency": values.get("currency", "usd"),
        "custom_fields": values.get("custom_fields"),
        "customer": owner["id"],
        "customer_account": None,
        "customer_address": owner["address"],
        "customer_email": owner["email"],
        "customer_name": owner["name"],
        "customer_phone": owner["phone"],
        "customer_shipping": None,
        "customer_tax_exempt": owner["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": values.get("description"),
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": values.get("footer"),
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata")),
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": None,
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": created,
        "period_start": created,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
    }


def credit_note(
    object_id: str,
    created: int,
    invoice: Json,
    values: Json,
    lines: Sequence[Json],
    *,
    number: str,
    pre_payment: int,
    post_payment: int,
) -> Json:
    """Make a credit note; `pre_payment` lowers what is open, `post_payment` is paid back."""
    total = pre_payment + post_payment
    url = f"/v1/credit_notes/{object_id}/lines"
    kinds = {(True, False): "pre_payment", (False, True): "post_payment"}
    return {
        "id": object_id,
        "object": "credit_note",
        "amount": total,
        "amount_shipping": 0,
        "created": created,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": created,
        "invoice": invoice["id"],
        "lines": listing(url, lines, more=False),
        "livemode": False,
        "memo": values.get("memo"),
        "metadata": merge_metadata({}, values.get("metadata")),
        "number": number,
        "out_of_band_amount": values.get("out_of_band_amount"),
        "pdf": f"{invoice['invoice_pdf']}/{object_id}",
        "post_payment_amount": post_payment,
        "pre_payment_amount": pre_payment,
        "pretax_credit_amounts": [],
        "reason": values.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
        "total_taxes": [],
        "type": kinds.get((bool(pre_payment), bool(post_payment)), "mixed"),
        "voided_at": None,
    }


def credit_note_line(object_id: str, of: Json, amount: int) -> Json:
    """Make a line of a credit note, for a line of an invoice."""
    return {
        "id": object_id,
        "object": "credit_note_line_item",
        "amount": amount,
        "description": of["description"],
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": of["id"],
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": None,
        "tax_rates": [],
        "taxes": [],
        "type": "invoice_line_item",
        "unit_amount": None,
        "unit_amount_decimal": None,
    }


def webhook_endpoint(object_id: str, created: int, values: Json) -> Json:
    """Make a webhook endpoint, without its secret."""
    return {
        "id": object_id,
        "object": "webhook_endpoint",
        "api_version": values.get("api_version"),
        "application": None,
        "created": created,
        "description": values.get("description"),
        "enabled_events": values["enabled_events"],
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata")),
        "status": "enabled",
        "url": values["url"],
    }


def automatic_tax(enabled: bool) -> Json:
    """Make an invoice's tax setting; the sandbox's tax is always zero."""
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": {"type": "self"} if enabled else None,
        "provider": "stripe" if enabled else None,
        "status": "complete" if enabled else None,
    }


def line(object_id: str, item_id: str, owner: Json, values: Json) -> Json:
    """Make a line of an invoice; Stripe makes an invoice item behind each added line."""
    moment = owner["created"]
    return {
        "id": object_id,
        "object": "line_item",
        "amount": values["amount"],
        "currency": owner["currency"],
        "description": values.get("description"),
        "discount_amounts": [],
        "discountable": values.get("discountable", values["amount"] >= 0),
        "discounts": [],
        "invoice": owner["id"],
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata")),
        "parent": {
            "invoice_item_details": {
                "invoice_item": item_id,
                "proration": False,
                "proration_details": None,
                "subscription": None,
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        },
        "period": values.get("period", {"start": moment, "end": moment}),
        "pretax_credit_amounts": [],
        "pricing": None,
        "quantity": 1,
        "quantity_decimal": "1",
        "subscription": None,
        "subtotal": values["amount"],
        "taxes": [],
    }


def totals(amount: int) -> Json:
    """Make a draft's amounts from its lines' sum, in minor units; nothing negative is due."""
    return {
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "amount_due": max(amount, 0),
        "amount_remaining": max(amount, 0),
    }


def settle(total: int, balance: int) -> tuple[int, int]:
    """Give the amount due and the customer's balance after finalizing, in minor units.

    A negative balance is credit, which pays first; a negative total becomes credit.
    """
    return max(total + balance, 0), min(total + balance, 0)


def shown_invoice(document: Json, lines: Sequence[Json], more: bool) -> Json:
    """Make the answer that shows an invoice with its first lines."""
    return {**document, "lines": listing(f"/v1/invoices/{document['id']}/lines", lines, more)}


def listing(url: str, data: Sequence[Json], more: bool) -> Json:
    """Make a page of a list."""
    return {"object": "list", "data": list(data), "has_more": more, "url": url}


def deleted(kind: str, object_id: str) -> Json:
    """Make the answer to a deletion."""
    return {"id": object_id, "object": kind, "deleted": True}


def merge_metadata(old: Mapping[str, str], new: Mapping[str, str] | None) -> dict[str, str]:
    """Lay new metadata over old; an empty value unsets a key, None unsets all."""
    if new is None:
        return {}
    return {key: value for key, value in {**old, **new}.items() if value != ""}
