"""What can be exported, column by column. Pure.

The reference page of the exports is written from this; see `tests/house/reference.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

ColumnType = Literal["text", "integer", "decimal", "money", "moment", "date", "flag", "json"]
"""`decimal` is exact, with as many places as it needs; `money` has its currency's own."""


class Kind(StrEnum):
    """What is exported."""

    USAGE = "usage"
    EVENTS = "events"
    LINE_ITEMS = "line-items"
    INVOICES = "invoices"
    INVOICE_LINES = "invoice-lines"
    JOURNAL = "journal"


class Column(NamedTuple):
    """A column: its name, what SQL reads it from, what it holds, and what that means.

    Of `money`, SQL reads whole minor units. What no SQL is given for is worked out.
    """

    name: str
    sql: str
    type: ColumnType
    meaning: str


@dataclass(frozen=True, slots=True)
class Export:
    """The rows of a month: their columns, and where they come from, by ``$1`` and on.

    `by_time` asks for the month's first instant and the one after its last, otherwise for its
    name. `of_invoices` tells that there is nothing before the month's invoices are made.
    """

    meaning: str
    columns: tuple[Column, ...]
    source: str
    order: str = ""
    by_time: bool = False
    of_invoices: bool = False

    @property
    def query(self) -> str:
        """The query that gives the columns in their order."""
        chosen = ", ".join(f"{one.sql} AS {one.name}" for one in self.columns)
        return f"SELECT {chosen} {self.source} {self.order}"

    def places(self, *types: ColumnType) -> list[int]:
        """Tell which columns are of one of the types, by their places."""
        return [place for place, one in enumerate(self.columns) if one.type in types]


_CUSTOMER_NAME = Column("customer_name", "k.name", "text", "the customer's name as it is now")
_PLAN = Column("plan", "p.plan", "text", "the contract's plan")

_USAGE = Export(
    "what was metered in the month, by contract and meter, and split by each dimension",
    (
        Column("period", "t.usage_period::text", "text", "the month in which it was used"),
        Column("customer", "c.customer_id", "text", "who used it"),
        _CUSTOMER_NAME,
        Column("contract", "t.contract_id", "text", "under which contract"),
        _PLAN,
        Column("meter", "t.meter", "text", "what was counted, by the meter's code"),
        Column("dimension", "t.dimension", "text", "what it is split by; empty: the whole"),
        Column("value", "t.value", "text", "which part of the split"),
        Column("quantity", "t.quantity", "decimal", "how much, in what the meter counts"),
    ),
    "FROM usage_totals t JOIN contracts c ON c.id = t.contract_id"
    " JOIN plan_versions p ON p.id = c.plan_version_id JOIN customers k ON k.id = c.customer_id"
    " WHERE t.usage_period = $1",
    "ORDER BY c.customer_id, t.contract_id, t.meter, t.dimension, t.value",
)

_EVENTS = Export(
    "the events that happened in the month, whenever they came; in no order that holds",
    (
        Column("source", "e.source", "text", "who sent it; with `id` its name"),
        Column("id", "e.id", "text", "the producer's own id"),
        Column("type", "e.type", "text", "what kind of event"),
        Column("customer", "e.customer_id", "text", "the event's `subject`"),
        Column("contract", "e.contract_id", "text", "what it was rated under; empty: it waits"),
        Column("time", "e.time", "moment", "when it happened"),
        Column("received_at", "e.received_at", "moment", "when Kafka took it"),
        Column("voided", "e.voided", "flag", "it was taken back and counts for nothing"),
        Column("partition", "e.partition", "integer", "where on the log it is"),
        Column("log_offset", "e.log_offset", "integer", "its offset on that partition"),
        Column("batch_id", "e.batch_id", "integer", "the posting that rated it, as of line items"),
        Column("data", "e.data::text", "json", "its data, whole"),
    ),
    "FROM events e WHERE e.time >= $1 AND e.time < $2",
    by_time=True,
)

_LINE_ITEMS = Export(
    "the postings that go onto the month's invoices, whichever month they were used in",
    (
        Column("id", "i.id", "integer", "its name, growing"),
        Column("batch_id", "i.batch_id", "integer", "the posting that it belongs to"),
        Column("customer", "i.customer_id", "text", "who is charged"),
        _CUSTOMER_NAME,
        Column("contract", "i.contract_id", "text", "under which contract"),
        _PLAN,
        Column("charge", "i.charge", "text", "the plan's charge, by its code"),
        Column("band", "i.band", "text", "which part of the price"),
        Column("kind", "i.kind", "text", "`usage`, `recurring` or `adjustment`"),
        Column("usage_period", "i.usage_period::text", "text", "the month in which it was used"),
        Column("posting_period", "i.posting_period::text", "text", "the month it goes onto"),
        Column("quantity", "i.quantity", "decimal", "how many; negative where it takes back"),
        Column("unit_price", "i.unit_price", "decimal", "the price of one"),
        Column("amount", "i.amount", "decimal", "exact, in the currency's major unit"),
        Column("currency", "i.currency", "text", "ISO 4217"),
        Column("corrects", "i.corrects", "integer", "the line item that it corrects"),
        Column("created_at", "i.created_at", "moment", "when it was posted"),
        Column("invoice", "l.invoice_id", "text", "the invoice it is on; empty: none yet"),
        Column("line", "l.position", "integer", "the invoice's line; empty: came to nothing"),
    ),
    "FROM line_items i JOIN contracts c ON c.id = i.contract_id"
    " JOIN plan_versions p ON p.id = c.plan_version_id JOIN customers k ON k.id = i.customer_id"
    " LEFT JOIN invoice_line_items l ON l.line_item_id = i.id WHERE i.posting_period = $1",
    "ORDER BY i.id",
)

_INVOICES = Export(
    "the month's invoices, one a row, in whatever state they are",
    (
        Column("id", "v.id", "text", "the invoice's name"),
        Column("run", "v.run_id", "text", "the run that made it"),
        Column("period", "v.period::text", "text", "the month"),
        Column("customer", "v.customer_id", "text", "who owes it"),
        _CUSTOMER_NAME,
        Column("customer_email", "k.email", "text", "the customer's address as it is now"),
        Column("currency", "v.currency", "text", "ISO 4217"),
        Column("kind", "v.kind", "text", "`monthly`"),
        Column("revision", "v.revision", "integer", "1 for the first"),
        Column("state", "v.state", "text", "where it stands on its way"),
        Column("total", "v.total_minor", "money", "the sum of its lines, in the major unit"),
        Column("total_minor", "v.total_minor", "integer", "the same in minor units"),
        Column("stripe_invoice", "v.stripe_invoice_id", "text", "its id at Stripe"),
        Column("billing_key", "v.billing_key", "text", "names it in the metadata at Stripe"),
        Column("payload_sha256", "v.payload_sha256", "text", "hash of all that it says"),
        Column("created_at", "v.created_at", "moment", "when its run was started"),
        Column("changed_at", "v.changed_at", "moment", "when its state last changed"),
    ),
    "FROM invoices v JOIN customers k ON k.id = v.customer_id WHERE v.period = $1",
    "ORDER BY v.customer_id, v.currency, v.id",
    of_invoices=True,
)

_INVOICE_LINES = Export(
    "the lines of the month's invoices; those of one invoice add up to its total",
    (
        Column("invoice", "v.id", "text", "the invoice's name"),
        Column("position", "l.position", "integer", "its place on the invoice, from 1"),
        Column("period", "v.period::text", "text", "the invoice's month"),
        Column("customer", "v.customer_id", "text", "who owes it"),
        _CUSTOMER_NAME,
        Column("state", "v.state", "text", "where the invoice stands"),
        Column("contract", "l.contract_id", "text", "under which contract"),
        _PLAN,
        Column("charge", "l.charge", "text", "the plan's charge, by its code"),
        Column("band", "l.band", "text", "which part of the price"),
        Column("kind", "l.kind", "text", "`usage`, `recurring` or `adjustment`"),
        Column("usage_period", "l.usage_period::text", "text", "the month in which it was used"),
        Column("quantity", "l.quantity", "decimal", "how many"),
        Column("unit_price", "l.unit_price", "decimal", "the price of one"),
        Column("exact_amount", "l.exact_amount", "decimal", "before rounding, in the major unit"),
        Column("amount", "l.amount_minor", "money", "rounded once, in the major unit"),
        Column("amount_minor", "l.amount_minor", "integer", "the same in minor units"),
        Column("currency", "v.currency", "text", "ISO 4217"),
        Column("description", "l.description", "text", "what the line says of itself"),
    ),
    "FROM invoices v JOIN invoice_lines l ON l.invoice_id = v.id"
    " JOIN customers k ON k.id = v.customer_id LEFT JOIN contracts c ON c.id = l.contract_id"
    " LEFT JOIN plan_versions p ON p.id = c.plan_version_id WHERE v.period = $1",
    "ORDER BY v.customer_id, v.currency, v.id, l.position",
    of_invoices=True,
)

_JOURNAL = Export(
    "the month's final invoices as entries of double-entry book-keeping, worked out from their"
    " lines; each entry, and so the whole, has debits equal to its credits",
    (
        Column("entry", "", "text", "which entry the line is of"),
        Column("date", "", "date", "the month's last day; of what is booked back, when that was"),
        Column("document", "", "text", "what is booked: `invoice`"),
        Column("document_id", "", "text", "its name, such as the invoice's"),
        Column("state", "", "text", "where it stands"),
        Column("customer", "", "text", "who owes it"),
        Column("customer_name", "", "text", "the customer's name as it is now"),
        Column("account", "", "text", "the account's number"),
        Column("account_name", "", "text", "its name"),
        Column("debit", "", "money", "in the major unit; 0 where the line is a credit"),
        Column("credit", "", "money", "in the major unit; 0 where the line is a debit"),
        Column("currency", "", "text", "ISO 4217"),
        Column("plan", "", "text", "the plan that it was earned by; empty: none"),
        Column("charge", "", "text", "the plan's charge; empty: none"),
        Column("component", "", "text", "the part of the fee; empty: it is not split"),
        Column("usage_period", "", "text", "the month in which it was used; empty: none"),
    ),
    "FROM invoices v WHERE v.period = $1",
    of_invoices=True,
)

EXPORTS: Mapping[Kind, Export] = {
    Kind.USAGE: _USAGE,
    Kind.EVENTS: _EVENTS,
    Kind.LINE_ITEMS: _LINE_ITEMS,
    Kind.INVOICES: _INVOICES,
    Kind.INVOICE_LINES: _INVOICE_LINES,
    Kind.JOURNAL: _JOURNAL,
}
