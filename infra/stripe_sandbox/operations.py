"""The table of the API's operations: where each is, what it takes, what does it."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.stripe_sandbox import (
    credit_notes,
    customers,
    events,
    invoices,
    params,
    webhook_endpoints,
)
from infra.stripe_sandbox.call import Call
from infra.stripe_sandbox.objects import Json
from infra.stripe_sandbox.reading import Fields


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation; `name` is the one it is counted under."""

    name: str
    method: str
    path: str
    fields: Fields
    run: Callable[[Call], Json]
    required: tuple[str, ...] = ()


_CUSTOMERS = "/v1/customers"
_CUSTOMER = "/v1/customers/{id}"
_INVOICES = "/v1/invoices"
_INVOICE = "/v1/invoices/{id}"
_CREDIT_NOTES = "/v1/credit_notes"
_CREDIT_NOTE = "/v1/credit_notes/{id}"
_ENDPOINTS = "/v1/webhook_endpoints"
_ENDPOINT = "/v1/webhook_endpoints/{id}"

OPERATIONS = (
    Operation("customers.create", "POST", _CUSTOMERS, params.CUSTOMER, customers.create),
    Operation("customers.list", "GET", _CUSTOMERS, params.LIST_CUSTOMERS, customers.page),
    Operation("customers.retrieve", "GET", _CUSTOMER, params.NONE, customers.retrieve),
    Operation("customers.update", "POST", _CUSTOMER, params.CUSTOMER, customers.update),
    Operation("customers.delete", "DELETE", _CUSTOMER, params.NONE, customers.delete),
    Operation(
        "invoices.create",
        "POST",
        _INVOICES,
        params.CREATE_INVOICE,
        invoices.create,
        required=("customer",),
    ),
    Operation("invoices.list", "GET", _INVOICES, params.LIST_INVOICES, invoices.page),
    Operation("invoices.retrieve", "GET", _INVOICE, params.NONE, invoices.retrieve),
    Operation("invoices.update", "POST", _INVOICE, params.UPDATE_INVOICE, invoices.update),
    Operation("invoices.delete", "DELETE", _INVOICE, params.NONE, invoices.delete),
    Operation(
        "invoices.add_lines",
        "POST",
        f"{_INVOICE}/add_lines",
        params.ADD_LINES,
        invoices.add_lines,
        required=("lines",),
    ),
    Operation(
        "invoices.list_lines", "GET", f"{_INVOICE}/lines", params.LIST_LINES, invoices.list_lines
    ),
    Operation(
        "invoices.finalize", "POST", f"{_INVOICE}/finalize", params.FINALIZE, invoices.finalize
    ),
    Operation("invoices.send", "POST", f"{_INVOICE}/send", params.NONE, invoices.send),
    Operation("invoices.pay", "POST", f"{_INVOICE}/pay", params.PAY, invoices.pay),
    Operation("invoices.void", "POST", f"{_INVOICE}/void", params.NONE, invoices.void),
    Operation(
        "invoices.mark_uncollectible",
        "POST",
        f"{_INVOICE}/mark_uncollectible",
        params.NONE,
        invoices.mark_uncollectible,
    ),
    Operation(
        "credit_notes.create",
        "POST",
        _CREDIT_NOTES,
        params.CREDIT_NOTE,
        credit_notes.create,
        required=("invoice", "lines"),
    ),
    Operation(
        "credit_notes.list", "GET", _CREDIT_NOTES, params.LIST_CREDIT_NOTES, credit_notes.page
    ),
    Operation("credit_notes.retrieve", "GET", _CREDIT_NOTE, params.NONE, credit_notes.retrieve),
    Operation(
        "credit_notes.update", "POST", _CREDIT_NOTE, params.UPDATE_CREDIT_NOTE, credit_notes.update
    ),
    Operation("credit_notes.void", "POST", f"{_CREDIT_NOTE}/void", params.NONE, credit_notes.void),
    Operation("events.list", "GET", "/v1/events", params.LIST_EVENTS, events.page),
    Operation("events.retrieve", "GET", "/v1/events/{id}", params.NONE, events.retrieve),
    Operation(
        "webhook_endpoints.create",
        "POST",
        _ENDPOINTS,
        params.ENDPOINT,
        webhook_endpoints.create,
        required=("url", "enabled_events"),
    ),
    Operation(
        "webhook_endpoints.list", "GET", _ENDPOINTS, params.LIST_ENDPOINTS, webhook_endpoints.page
    ),
    Operation(
        "webhook_endpoints.retrieve", "GET", _ENDPOINT, params.NONE, webhook_endpoints.retrieve
    ),
    Operation(
        "webhook_endpoints.delete", "DELETE", _ENDPOINT, params.NONE, webhook_endpoints.delete
    ),
)
"""All of them."""
