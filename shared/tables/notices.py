"""Tables of notices, which the invoicer owns: what is to be told, to whom, and how that went."""

from sqlmodel import Field, SQLModel

from shared.tables.columns import Json, Moment, OptionalMoment


class OutboxNotice(SQLModel, table=True):
    """A thing that happened, to be told once; of one type and key there is one.

    `fanned_out_at` is when it was given to the endpoints that there were then.
    """

    __tablename__ = "outbox"

    id: str = Field(primary_key=True)
    type: str
    key: str
    subject: str
    occurred_at: Moment
    data: Json
    put_at: Moment
    fanned_out_at: OptionalMoment = None
