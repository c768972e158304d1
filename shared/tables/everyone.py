"""Tables that every service appends to."""

from sqlmodel import Field, SQLModel

from shared.tables.columns import Moment, OptionalJson


class AuditEntry(SQLModel, table=True):
    """An act that changed money or access: who, when, what, before, after (I12)."""

    __tablename__ = "audit_entries"

    id: int | None = Field(default=None, primary_key=True)
    at: Moment
    actor: str
    act: str
    subject: str
    before: OptionalJson = None
    after: OptionalJson = None
