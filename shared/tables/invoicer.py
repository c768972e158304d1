"""Tables that the invoicer owns: periods, runs, invoices, what was sent to Stripe."""

from decimal import Decimal

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.tables.columns import Big, Moment, OptionalJson, OptionalMoment


class PeriodState(SQLModel, table=True):
    """A period that is being closed or is closed; one without a row is open."""

    __tablename__ = "periods"

    period: str = Field(primary_key=True)
    state: str
    end_offsets: OptionalJson = None
    closing_at: Moment
    closed_at: OptionalMoment = None
    alerts_looked_at: OptionalMoment = None


class InvoiceRun(SQLModel, table=True):
    """One month-end run over many customers."""

    __tablename__ = "invoice_runs"

    id: str = Field(primary_key=True)
    period: str
    state: str
    payload_sha256: str
    started_by: str
    created_at: Moment
    approved_by: str | None = None
    approved_at: OptionalMoment = None
    paused_because: str | None = None
    finished_at: OptionalMoment = None


class Invoice(SQLModel, table=True):
    """One customer's invoice for a period; `billing_key` names it here and at Stripe.

    `token_costs` are what the customer pays to Anthropic directly, by model. `note` says why an
    invoice is not sent.
    """

    __tablename__ = "invoices"

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="invoice_runs.id")
    customer_id: str = Field(foreign_key="customers.id")
    period: str
    currency: str
    kind: str = "monthly"
    revision: int = 1
    billing_key: str = Field(unique=True)
    state: str
    total_minor: Big
    payload_sha256: str
    custom_fields: list[dict[str, str]] = Field(default_factory=list, sa_type=JSONB)
    footer: str | None = None
    token_costs: list[dict[str, str | None]] = Field(default_factory=list, sa_type=JSONB)
    detail_sha256: str | None = None
    note: str | None = None
    stripe_invoice_id: str | None = Field(default=None, unique=True)
    due_at: OptionalMoment = None
    attempts: int = 0
    last_error: str | None = None
    created_at: Moment
    changed_at: Moment


class InvoiceLine(SQLModel, table=True):
    """Line items of one charge and band added up and rounded once, to minor units."""

    __tablename__ = "invoice_lines"

    id: int | None = Field(default=None, primary_key=True)
    invoice_id: str = Field(foreign_key="invoices.id")
    position: int
    contract_id: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: Decimal
    unit_price: Decimal
    exact_amount: Decimal
    amount_minor: Big
    description: str


class InvoiceLineItem(SQLModel, table=True):
    """Which invoice line a line item went into: one at most."""

    __tablename__ = "invoice_line_items"

    line_item_id: int = Field(primary_key=True, foreign_key="line_items.id")
    invoice_id: str = Field(foreign_key="invoices.id")
    position: int | None = None


class CreditNote(SQLModel, table=True):
    """What is given back of an invoice's line; `reference` is of who asked for it."""

    __tablename__ = "credit_notes"

    id: str = Field(primary_key=True)
    invoice_id: str = Field(foreign_key="invoices.id")
    reference: str
    position: int
    amount_minor: Big
    why: str
    state: str
    stripe_credit_note_id: str | None = Field(default=None, unique=True)
    last_error: str | None = None
    created_by: str
    created_at: Moment
    changed_at: Moment


class InvoiceCarry(SQLModel, table=True):
    """The line that takes up the total of an earlier invoice that was carried forward."""

    __tablename__ = "invoice_carries"

    source_id: str = Field(primary_key=True, foreign_key="invoices.id")
    invoice_id: str = Field(foreign_key="invoices.id", ondelete="CASCADE")
    position: int


class StripeCustomer(SQLModel, table=True):
    """A customer's twin at Stripe, and what was last told there of it."""

    __tablename__ = "stripe_customers"

    customer_id: str = Field(primary_key=True, foreign_key="customers.id")
    stripe_customer_id: str = Field(unique=True)
    name: str
    email: str
    told_at: Moment
    created_at: Moment


class StripeEventRow(SQLModel, table=True):
    """An event of Stripe's; `applied_at` is when its invoice was read after it."""

    __tablename__ = "stripe_events"

    id: str = Field(primary_key=True)
    type: str
    object_id: str
    stripe_invoice_id: str | None = None
    created_at: Moment
    received_at: Moment
    listed_at: OptionalMoment = None
    applied_at: OptionalMoment = None


class StripeIntent(SQLModel, table=True):
    """A call that changes Stripe, written down before it was first sent.

    `refused_at` is set once Stripe has answered it with an error that it would repeat.
    """

    __tablename__ = "stripe_intents"

    idempotency_key: str = Field(primary_key=True)
    subject: str
    step: str
    params_sha256: str
    first_sent_at: Moment
    refused_at: OptionalMoment = None
