"""Builds events as producers send them. Pure: ids and times follow from the arguments."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.executions import EXECUTION_FINISHED
from shared.periods import Period

Event = dict[str, Any]

SOURCE = "agents/tests"
MODEL = "claude-sonnet-4"


def execution(
    customer: str,
    id: str,  # noqa: A002  # CloudEvents' own word
    *,
    time: datetime,
    source: str = SOURCE,
    status: str = "succeeded",
    **data: Any,
) -> Event:
    """Build an execution of 1,000 input and 500 output tokens; `data` adds or replaces fields."""
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": EXECUTION_FINISHED,
        "subject": customer,
        "time": time.isoformat(),
        "data": {
            "execution_id": f"run-{id}",
            "status": status,
            "model": MODEL,
            "input_tokens": 1000,
            "output_tokens": 500,
            "key_label": "main",
            **({"failure_reason": "the model refused"} if status == "failed" else {}),
            **data,
        },
    }


def executions(
    customer: str,
    count: int,
    *,
    period: Period,
    failed_every: int = 0,
    first: int = 0,
    prefix: str = "",
    source: str = SOURCE,
) -> list[Event]:
    """Build executions spread evenly over a month, numbered from `first`.

    Every `failed_every`-th one has failed; 0 means none.
    """
    step = (period.end - period.start) / max(1, count)
    return [
        execution(
            customer,
            f"{prefix}{customer}-{first + number:06d}",
            time=period.start + step * number,
            source=source,
            status="failed" if failed_every and number % failed_every == 0 else "succeeded",
        )
        for number in range(count)
    ]


def billable(events: Sequence[Event]) -> int:
    """Count the events that are to be billed: the executions that succeeded."""
    return sum(event["data"]["status"] == "succeeded" for event in events)


def changed(event: Event, **data: Any) -> Event:
    """Give the event with other content under the same source and id: a conflict."""
    return {**event, "data": {**event["data"], **data}}


def encoded(event: Event) -> bytes:
    """Write an event as structured JSON, as it stands on the log."""
    return msgspec.json.encode(event)


def moment(period: Period, **after: float) -> datetime:
    """Give the moment that lies a time after a month's first instant."""
    return period.start + timedelta(**after)
