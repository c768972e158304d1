"""The events that the benchmarks send: executions of a few customers, every one different. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from shared.periods import Period

CUSTOMERS = 1_000
SOURCE = "urn:tallybook:benchmark"
WARM_UP_SOURCE = "urn:tallybook:warm-up"
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
    for index in range(first, first + count):
        share = (index - first) / count
        yield _event(index, period, share, SOURCE, failed=index % FAILED_EVERY == 0)


def warm_up(count: int, period: Period) -> Iterator[tuple[str, bytes]]:
    """Give such events from a source of their own, all failed, so that none is billed."""
    for index in range(count):
        yield _event(index, period, index / count, WARM_UP_SOURCE, failed=True)


def _event(
    index: int, period: Period, share: float, source: str, *, failed: bool
) -> tuple[str, bytes]:
    at = period.start + timedelta(seconds=int(share * (period.end - period.start).total_seconds()))
    status = "failed" if failed else "succeeded"
    subject = customer(index)
    event_id = f"{index * _ODD % 2**64:016x}"
    return (
        subject,
        (
            f'{{"specversion":"1.0","id":"{event_id}","source":"{source}",'
            f'"subject":"{subject}","type":"ai.execution.finished","time":"{at:%FT%TZ}",'
            f'"data":{{"execution_id":"run-{index}","status":"{status}",'
            f'"model":"claude-sonnet-4","input_tokens":1000,"output_tokens":500,'
            f'"key_label":"main"}}}}'
        ).encode(),
    )


def billable(first: int, count: int) -> int:
    """Tell how many of so many events succeeded."""
    return sum(index % FAILED_EVERY != 0 for index in range(first, first + count))
