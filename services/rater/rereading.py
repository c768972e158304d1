"""Reads stored events back as the rater first saw them, to meter them again. Pure."""

from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from services.rater.batch import StoredEvent
from services.rater.metering import EventTypeMeters, Reading

EVENT_COLUMNS = (
    "e.source, e.id, e.type, e.customer_id, e.time, e.data::text, e.digest, e.partition,"
    " e.log_offset, e.received_at"
)
"""What `stored_event` reads of a row of the events table, there called ``e``."""

_decode_data = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


class Row(Protocol):
    """A row of a query's answer, read by column name."""

    def __getitem__(self, column: str, /) -> Any:
        """Give a column's value."""


def stored_event(row: Row, meters_of: Mapping[str, EventTypeMeters]) -> StoredEvent:
    """Make a stored event of its row, with what the meters of today need of it."""
    meters = meters_of.get(row["type"])
    reading = meters.read_leniently(_decode_data(row["data"])) if meters else Reading((), (), ())
    return StoredEvent(
        row["source"],
        row["id"],
        row["type"],
        row["customer_id"],
        row["time"].astimezone(UTC),
        row["data"],
        row["digest"],
        row["partition"],
        row["log_offset"],
        row["received_at"],
        meters,
        *reading,
    )
