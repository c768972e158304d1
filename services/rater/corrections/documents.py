"""The JSON of corrections: the same over HTTP and from commands."""

from collections.abc import Iterable
from typing import Any

import msgspec

from services.rater.corrections.rerating import Checked
from services.rater.corrections.voiding import Voided
from services.rater.posting import LineItem
from shared.money import plain

Document = dict[str, Any]


def voided_document(voided: Voided) -> Document:
    """Describe what was voided, with the line items that undo it."""
    return {
        "voided": voided.events,
        "batch_id": voided.batch_id,
        "line_items": line_item_documents(voided.items),
    }


def checked_document(checked: Checked) -> Document:
    """Describe what a check of the books found."""
    return {
        "clean": not checked.findings,
        "months": checked.months,
        "events": checked.events,
        "findings": [msgspec.to_builtins(one) for one in checked.findings],
    }


def line_item_documents(items: Iterable[LineItem]) -> list[Document]:
    """Describe postings; amounts are exact, in the major unit."""
    return [
        {
            "customer": item.customer_id,
            "contract": item.contract_id,
            "charge": item.charge,
            "band": item.band,
            "quantity": plain(item.quantity),
            "unit_price": plain(item.unit_price),
            "amount": plain(item.amount),
            "currency": item.currency,
            "usage_period": item.usage_period,
            "posting_period": item.posting_period,
            "kind": item.kind,
            "corrects": item.corrects,
        }
        for item in items
    ]
