"""Traces events on their way to the log: as part of the request, and in their own traces."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from services.ingest.verdicts import Decision
from shared.trace_context import TraceContext, context_of_event
from shared.tracing import Tracing, context_of, current, fail

MOST_FOLLOWED = 128
"""Most traces of events that one request is noted in."""

Headers = list[tuple[str, bytes]]


def note(decision: Decision) -> None:
    """Write the verdicts' counts into the request's span."""
    accepted, duplicates = len(decision.records), decision.duplicates
    current().set_attributes(
        {
            "tallybook.events.accepted": accepted,
            "tallybook.events.duplicate": duplicates,
            "tallybook.events.rejected": len(decision.results) - accepted - duplicates,
        }
    )


@contextlib.contextmanager
def sending(
    tracing: Tracing, topic: str, records: Sequence[tuple[str, bytes]]
) -> Iterator[Headers]:
    """Trace records on their way to Kafka, and give the headers that take the trace there.

    They are a span of the request. Where an event names a span of its own as the one that it
    came of, and that trace is kept, it is noted there too.
    """
    name = f"send {topic}"
    with tracing.span(name, _described(topic, len(records)), kind="producer") as span:
        request = context_of(span)
        links = [request] if request.sampled else []
        followed = [
            tracing.begin(name, _described(topic, count), kind="producer", parent=own, links=links)
            for own, count in islice(_own_contexts(records).items(), MOST_FOLLOWED)
        ]
        try:
            yield request.headers() if request.sampled else []
        except BaseException as error:
            for one in followed:
                fail(one, type(error).__qualname__)
            raise
        finally:
            for one in followed:
                one.end()


def _own_contexts(records: Sequence[tuple[str, bytes]]) -> Counter[TraceContext]:
    """Count the events of each context that is kept."""
    contexts = (context_of_event(event) for _, event in records)
    return Counter(context for context in contexts if context is not None and context.sampled)


def _described(topic: str, count: int) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": count,
    }
