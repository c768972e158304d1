"""Column types that several tables share."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import ARRAY, BigInteger, DateTime, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

Moment = Annotated[datetime, Field(sa_type=DateTime(timezone=True))]
OptionalMoment = Annotated[datetime | None, Field(sa_type=DateTime(timezone=True))]
Json = Annotated[dict[str, Any], Field(sa_type=JSONB)]
OptionalJson = Annotated[dict[str, Any] | None, Field(sa_type=JSONB)]
Big = Annotated[int, Field(sa_type=BigInteger)]
Texts = Annotated[list[str], Field(sa_type=ARRAY(Text))]
