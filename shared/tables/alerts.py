"""Tables of alerts, which the invoicer owns: the rules, and what they were raised for."""

from decimal import Decimal

from sqlalchemy import ARRAY, DateTime, Numeric
from sqlmodel import Field, SQLModel

from shared.tables.columns import Moment, OptionalMoment


class Alert(SQLModel, table=True):
    """A rule on what a customer's month comes to: a meter's quantity, or what is due.

    Without a customer it is for every one. `thresholds` are percents where there is a budget.
    It never changes; a removed one stays for what it was raised for.
    """

    __tablename__ = "alerts"

    id: str = Field(primary_key=True)
    customer_id: str | None = Field(default=None, foreign_key="customers.id")
    meter: str | None = Field(default=None, foreign_key="meters.code")
    currency: str | None = None
    budget: Decimal | None = None
    thresholds: list[Decimal] = Field(sa_type=ARRAY(Numeric))
    since: str
    created_by: str
    created_at: Moment
    removed_at: OptionalMoment = None


class AlertRaised(SQLModel, table=True):
    """A threshold of an alert that a customer's month has reached: one row, whatever follows."""

    __tablename__ = "alerts_raised"

    alert_id: str = Field(primary_key=True, foreign_key="alerts.id")
    customer_id: str = Field(primary_key=True, foreign_key="customers.id")
    period: str = Field(primary_key=True)
    threshold: Decimal = Field(primary_key=True)
    reached: Decimal
    raised_at: Moment


class SilenceRaised(SQLModel, table=True):
    """A silence of a source that was told of; `since` is when its last event had come."""

    __tablename__ = "silences_raised"

    source: str = Field(primary_key=True)
    since: Moment = Field(primary_key=True, sa_type=DateTime(timezone=True))
    raised_at: Moment
