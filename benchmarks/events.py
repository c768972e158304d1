"""The events that the benchmarks send: executions of a few customers, every one different. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from shared.periods import Period

CUSTOMERS = 24
SOURCE = "urn:tallybook:benchmark"


def customer(index: int) -> str:
    """Name a customer."""
    return f"customer-{index % CUSTOMERS}"


def events(count: int, period: Period) -> Iterator[tuple[str, bytes]]:
    """Give customer and event, spread over a month; one in two hundred failed."""
    seconds = int((period.end - period.start).total_seconds())
    for index in range(count):
        at = period.start + timedelta(seconds=index * seconds // count)
        status = "failed" if index % 200 == 0 else "succeeded"
        subject = customer(index)
        yield (
            subject,
            (
                f'{{"specversion":"1.0","id":"run-{index}","source":"{SOURCE}",'
                f'"subject":"{subject}","type":"ai.execution.finished","time":"{at:%FT%TZ}",'
                f'"data":{{"execution_id":"run-{index}","status":"{status}",'
                f'"model":"claude-sonnet-4","input_tokens":1000,"output_tokens":500,'
                f'"key_label":"main"}}}}'
            ).encode(),
        )


def billable(count: int) -> int:
    """Tell how many of so many events succeeded."""
    return count - len(range(0, count, 200))
