"""Tables that ingest owns."""

from sqlmodel import Field, SQLModel

from shared.tables.columns import Moment, OptionalMoment, Texts


class ApiKey(SQLModel, table=True):
    """A producer's or finance's key, of which only the hash is kept."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    secret_sha256: bytes = Field(unique=True)
    scopes: Texts
    sources: Texts
    customers: Texts
    event_types: Texts
    created_at: Moment
    expires_at: OptionalMoment = None
    revoked_at: OptionalMoment = None
    events_per_second: int | None = None
    last_used_at: OptionalMoment = None
