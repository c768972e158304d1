"""Tables that the rater owns: catalogue, customers, contracts, events, line items."""

from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.tables.columns import Big, Json, Moment, OptionalMoment


class Meter(SQLModel, table=True):
    """How events become a quantity."""

    __tablename__ = "meters"

    code: str = Field(primary_key=True)
    definition: Json
    applied_at: Moment


class PlanVersion(SQLModel, table=True):
    """A named set of charges, immutable; its id is ``plan@version``."""

    __tablename__ = "plan_versions"

    id: str = Field(primary_key=True)
    plan: str
    version: int
    currency: str
    definition: Json
    applied_at: Moment


class DiscountSchedule(SQLModel, table=True):
    """A named discount by volume, immutable; its id is ``schedule@version``."""

    __tablename__ = "discount_schedules"

    id: str = Field(primary_key=True)
    schedule: str
    version: int
    definition: Json
    applied_at: Moment


class ModelPrice(SQLModel, table=True):
    """What a model's tokens cost from a moment on, a million tokens each way."""

    __tablename__ = "model_prices"

    model: str = Field(primary_key=True)
    effective_from: Moment = Field(primary_key=True, sa_type=DateTime(timezone=True))
    input_per_million: Decimal
    output_per_million: Decimal
    currency: str


class Customer(SQLModel, table=True):
    """Who is billed; the subject of events."""

    __tablename__ = "customers"

    id: str = Field(primary_key=True)
    name: str
    email: str
    currency: str
    purchase_order: str | None = None
    tax_id: str | None = None
    created_at: Moment


class Contract(SQLModel, table=True):
    """A customer on a plan version from `starts_at` to before `ends_at`.

    `overrides` are whole charges that stand in the place of the plan's of the same code.
    """

    __tablename__ = "contracts"

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    plan_version_id: str = Field(foreign_key="plan_versions.id")
    discount_schedule_id: str | None = Field(default=None, foreign_key="discount_schedules.id")
    overrides: list[dict[str, Any]] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    starts_at: Moment
    ends_at: OptionalMoment = None
    created_at: Moment


class Event(SQLModel, table=True):
    """One CloudEvent, rated once `contract_id` is set."""

    __tablename__ = "events"

    source: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    type: str
    customer_id: str
    time: Moment
    data: Json
    digest: bytes
    partition: int
    log_offset: Big
    received_at: Moment
    batch_id: Big
    contract_id: str | None = None
    voided: bool = False


class Void(SQLModel, table=True):
    """An event that was taken back: it counts for nothing."""

    __tablename__ = "voids"

    source: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    reason: str
    voided_by: str
    voided_at: Moment
    batch_id: Big


class Conflict(SQLModel, table=True):
    """A version of an event that differs from the stored one; never billed."""

    __tablename__ = "conflicts"

    id: int | None = Field(default=None, primary_key=True)
    source: str
    event_id: str
    customer_id: str
    type: str
    time: Moment
    data: Json
    digest: bytes
    partition: int
    log_offset: Big
    received_at: Moment
    state: str = "open"
    resolved_at: OptionalMoment = None
    resolved_by: str | None = None
    why: str | None = None


class DeadLetter(SQLModel, table=True):
    """A record of the log that is no event we can take, with what is wrong with it."""

    __tablename__ = "dead_letters"

    id: int | None = Field(default=None, primary_key=True)
    topic: str
    partition: int
    log_offset: Big
    key: bytes | None = None
    payload: bytes | None = None
    headers: list[list[str]] = Field(default_factory=list, sa_type=JSONB)
    code: str
    detail: str
    pointer: str | None = None
    source: str | None = None
    event_id: str | None = None
    received_at: Moment
    state: str = "open"
    closed_at: OptionalMoment = None
    closed_by: str | None = None
    why: str | None = None


class LineItem(SQLModel, table=True):
    """One append-only posting; `amount` is exact, in the currency's major unit."""

    __tablename__ = "line_items"

    id: int | None = Field(default=None, primary_key=True)
    batch_id: Big
    customer_id: str = Field(foreign_key="customers.id")
    contract_id: str = Field(foreign_key="contracts.id")
    charge: str
    band: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    currency: str
    usage_period: str
    posting_period: str
    kind: str
    corrects: int | None = Field(default=None, foreign_key="line_items.id")
    created_at: Moment
