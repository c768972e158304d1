"""A stored event, read back, is metered as it was when it first came."""

from typing import Any

import pytest

from services.rater.batch import StoredEvent
from services.rater.metering import EventTypeMeters, Meter, by_event_type
from services.rater.records import RecordReader
from services.rater.rereading import stored_event
from shared.events import TimeLimits
from tests.services.rater.factories import LogRecord
from tests.shared.factories import event_with_raw_data

TYPE = "com.example.usage"
Meters = dict[str, EventTypeMeters]
METERS = by_event_type(
    {
        "units": Meter(TYPE, "sum", {"billable": "true"}, "units", ["size", "billable"]),
        "peak": Meter(TYPE, "max", {}, "units"),
        "sizes": Meter(TYPE, "unique_count", {}, "size"),
    }
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
    first, row = stored_as(sent, stored)
    again = stored_event(row, METERS)
    assert again._replace(data=first.data) == first
    assert (again.group, again.members) == (first.group, first.members)


def stored_as(sent: str, stored: str, of: Meters = METERS) -> tuple[StoredEvent, dict[str, Any]]:
    """Read what was sent, and give with it the row that Postgres then has."""
    record = LogRecord(event_with_raw_data(sent, type=TYPE))
    (first,) = RecordReader(of, LIMITS).read([record]).events()
    names = ("source", "id", "type", "customer_id", "time", "digest", "partition", "received_at")
    row: dict[str, Any] = {name: getattr(first, name) for name in names}
    return first, row | {"data": stored, "log_offset": first.offset}


@pytest.mark.parametrize("refused", ['"7"', "-1", "null", "[]", "true"])
def test_what_a_meter_refuses_that_came_after_the_event_counts_for_nothing(refused: str) -> None:
    """The others count as they would; nothing stops what is counted with the event."""
    data = f'{{"size": "a", "units": {refused}, "billable": true}}'
    _, row = stored_as(data, data, of={})
    again = stored_event(row, METERS)
    assert (again.group, again.values, again.members) == (("true", "a"), (0,), ("a",))


def test_a_text_that_a_meter_refuses_leaves_the_numbers_to_be_counted() -> None:
    data = f'{{"size": "{"x" * 257}", "units": 3, "billable": true}}'
    _, row = stored_as(data, data, of={})
    again = stored_event(row, METERS)
    assert (again.group, again.values, again.members) == (("true", None), (3,), (None,))
