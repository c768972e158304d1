"""Tables of notices, which the invoicer owns: what is to be told, to whom, and how that went."""

from sqlmodel import Field, SQLModel

from shared.tables.columns import Json, Moment, OptionalMoment, Texts


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


class NoticeEndpoint(SQLModel, table=True):
    """A receiver of notices: a URL, or a mailbox; `types` empty means all.

    What signs its messages is kept as it is, and shown once: never in a log, a listing or the
    audit trail.
    """

    __tablename__ = "notice_endpoints"

    id: str = Field(primary_key=True)
    url: str
    types: Texts
    description: str = ""
    state: str
    disabled_because: str | None = None
    secret: str | None = Field(default=None, repr=False)
    former_secret: str | None = Field(default=None, repr=False)
    former_until: OptionalMoment = None
    created_at: Moment
    changed_at: Moment


class NoticeDelivery(SQLModel, table=True):
    """One notice on its way to one endpoint; `last_answer` is what came of the last attempt."""

    __tablename__ = "notice_deliveries"

    id: int | None = Field(default=None, primary_key=True)
    notice_id: str = Field(foreign_key="outbox.id")
    endpoint_id: str = Field(foreign_key="notice_endpoints.id")
    state: str = "waiting"
    attempts: int = 0
    next_attempt_at: Moment
    last_answer: str | None = None
    created_at: Moment
    delivered_at: OptionalMoment = None
