"""The table of the API's operations: where each is, what it takes, what does it."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.stripe_sandbox import customers, invoices, params
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
)
"""All of them."""
