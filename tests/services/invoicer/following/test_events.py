"""Of an event one learns which invoice to look at again."""

from typing import Any

import pytest

from services.invoicer.following.events import EventError, read_event, read_message
from services.invoicer.stripe_objects import API_VERSION
from tests.services.invoicer.following.messages import body_of, event

OURS = {"id": "in_1", "object": "invoice", "metadata": {"billing_key": "k"}}


@pytest.mark.parametrize(
    ("kind", "about", "stripe_invoice"),
    [
        ("invoice.paid", OURS, "in_1"),
        ("invoice.voided", OURS, "in_1"),
        ("invoice.paid", {**OURS, "metadata": {}}, None),
        ("invoice.paid", {"id": "in_1", "object": "invoice"}, None),
        ("invoice.created", OURS, None),
        ("credit_note.created", {"id": "cn_1", "object": "credit_note", "invoice": "in_1"}, "in_1"),
        ("customer.updated", {"id": "cus_1", "object": "customer"}, None),
        ("balance.available", {"object": "balance"}, None),
    ],
)
def test_the_invoice_it_is_about(kind: str, about: dict[str, Any], stripe_invoice: str) -> None:
    assert read_event(event(kind, about)).stripe_invoice == stripe_invoice


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"x"',
        b'{"id": 1}',
        body_of(event("invoice.paid", OURS, created=10**30)),
        body_of(event("invoice.paid", OURS, created="now")),
    ],
)
def test_what_is_no_event_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(EventError, match="no event of Stripe's"):
        read_message(body, API_VERSION)


@pytest.mark.parametrize("version", ["2020-08-27", None])
def test_an_event_of_another_api_version_is_refused(version: str | None) -> None:
    body = body_of(event("invoice.paid", OURS, api_version=version))
    with pytest.raises(EventError, match=f"of API version {version}, Tallybook reads"):
        read_message(body, API_VERSION)
