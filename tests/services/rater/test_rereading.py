"""A stored event, read back, is metered as it was when it first came."""

from typing import Any

import pytest

from services.rater.metering import Meter, by_event_type
from services.rater.records import RecordReader
from services.rater.rereading import stored_event
from shared.events import TimeLimits
from tests.services.rater.factories import LogRecord
from tests.shared.factories import event_with_raw_data

TYPE = "com.example.usage"
METERS = by_event_type(
    {"units": Meter(TYPE, "sum", {"billable": "true"}, "units", ["size", "billable"])}
)
LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (
            '{"units":1.50,"size":"a","billable":true}',
            '{"size": "a", "units": 1.50, "billable": true}',
        ),
        (
            '{"units":1e2,"size":1e2,"billable":1}',
            '{"size": 100, "units": 100, "billable": 1}',
        ),
        (
            '{"units":-0.0,"size":-0.0,"billable":"true"}',
            '{"size": 0.0, "units": 0.0, "billable": "true"}',
        ),
        ('{"units":1e-7,"size":1e-7}', '{"size": 0.0000001, "units": 0.0000001}'),
        ('{"units":3,"size":null}', '{"size": null, "units": 3}'),
        ("{}", "{}"),
    ],
)
def test_an_event_is_metered_alike_when_it_is_read_back(sent: str, stored: str) -> None:
    """`stored` is what Postgres makes of the JSON that was sent."""
    record = LogRecord(event_with_raw_data(sent, type=TYPE))
    (first,) = RecordReader(METERS, LIMITS).read([record])
    names = ("source", "id", "type", "customer_id", "time", "digest", "partition", "received_at")
    row: dict[str, Any] = {name: getattr(first, name) for name in names}
    row |= {"data": stored, "log_offset": first.offset}

    again = stored_event(row, METERS)

    assert again._replace(data=first.data) == first
    assert again.group == first.group
