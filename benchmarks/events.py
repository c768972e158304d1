"""The events that the benchmarks send: executions of a few customers, every one different. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from shared.periods import Period

CUSTOMERS = 1_000
SOURCE = "urn:tallybook:benchmark"
FAILED_EVERY = 200
_ODD = 0x9E3779B97F4A7C15
"""Any odd number sends different numbers below 2^64 to different ones."""


def customer(index: int) -> str:
    """Name a customer."""
    return f"customer-{index % CUSTOMERS}"


def events(first: int, count: int, period: Period) -> Iterator[tuple[str, bytes]]:
    """Give customer and event, spread over a month; one in two hundred failed.

    The ids lie as if drawn by lot, as those of most producers do.
    """
    seconds = int((period.end - period.start).total_seconds())
    for index in range(first, first + count):
        at = period.start + timedelta(seconds=(index - first) * seconds // count)
        status = "failed" if index % FAILED_EVERY == 0 else "succeeded"
        subject = customer(index)
        event_id = f"{index * _ODD % 2**64:016x}"
        yield (
            subject,
            (
                f'{{"specversion":"1.0","id":"{event_id}","source":"{SOURCE}",'
                f'"subject":"{subject}","type":"ai.execution.finished","time":"{at:%FT%TZ}",'
                f'"data":{{"execution_id":"run-{index}","status":"{status}",'
                f'"model":"claude-sonnet-4","input_tokens":1000,"output_tokens":500,'
                f'"key_label":"main"}}}}'
            ).encode(),
        )


def billable(first: int, count: int) -> int:
    """Tell how many of so many events succeeded."""
    return sum(index % FAILED_EVERY != 0 for index in range(first, first + count))
