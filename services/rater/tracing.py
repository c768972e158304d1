"""Traces what became of a batch: in its own span, and in the traces that its records came of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import structlog

from services.rater.records import Batch, Record
from shared.trace_context import TraceContext, contexts_of_record, name_of_record
from shared.tracing import Span, Tracing, context_of, link

log = structlog.get_logger("tallybook.rater")

MOST_FOLLOWED = 128
"""Most traces that one batch is noted in, and linked to; the SDK keeps no more links either."""

_STORED, _DUPLICATE, _CONFLICT, _DEAD_LETTER = "stored", "duplicate", "conflict", "dead_letter"


@dataclass(frozen=True, slots=True)
class Processed:
    """A batch that is committed; `began` is when it began, in nanoseconds."""

    records: Sequence[Record]
    batch: Batch
    batch_id: int
    began: int

    @property
    def topic(self) -> str:
        """The topic of its records."""
        return self.records[0].topic


@dataclass(slots=True)
class _Share:
    """The records of a batch that came of one trace context, and what became of them."""

    records: list[Record] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


def follow(tracing: Tracing, span: Span, processed: Processed) -> None:
    """Say in a batch's span what became of it, and in each trace that a record of it came of.

    Whatever goes wrong here, the batch stands.
    """
    try:
        span.set_attributes(_described(processed, _outcomes(processed)))
        own = context_of(span)
        links = [own] if own.sampled else []
        for context, share in islice(_by_context(processed).items(), MOST_FOLLOWED):
            link(span, context)
            tracing.begin(
                f"process {processed.topic}",
                _described(processed, share.outcomes) | _named(share),
                kind="consumer",
                parent=context,
                links=links,
                since=processed.began,
            ).end()
    except Exception:
        log.exception("a batch could not be traced; it is rated all the same")


def _by_context(processed: Processed) -> dict[TraceContext, _Share]:
    """Sort the records that came of a trace that is kept by its context.

    Those that hold a secret are left out, as their context may hold it.
    """
    found: dict[TraceContext, _Share] = {}
    unusual: dict[tuple[int, int], str | None] | None = None
    for record in processed.records:
        for context in contexts_of_record(record.value, record.headers):
            if context.sampled:
                if unusual is None:
                    unusual = _unusual(processed.batch)
                outcome = unusual.get((record.partition, record.offset), _STORED)
                if outcome is not None:
                    share = found.setdefault(context, _Share())
                    share.records.append(record)
                    share.outcomes[outcome] += 1
    return found


def _unusual(batch: Batch) -> dict[tuple[int, int], str | None]:
    """Give what became of records that were not stored; None where nothing of one is kept."""
    found: dict[tuple[int, int], str | None] = {}
    for outcome, events in ((_DUPLICATE, batch.duplicates), (_CONFLICT, batch.conflicts)):
        for event in events:
            found[event.partition, event.offset] = outcome
    for letter in batch.dead_letters:
        kept = letter.payload is not None
        found[letter.partition, letter.offset] = _DEAD_LETTER if kept else None
    return found


def _outcomes(processed: Processed) -> Counter[str]:
    """Count what became of all records."""
    outcomes: Counter[str] = Counter()
    for count in processed.batch.counts.values():
        outcomes[_STORED] += count.stored
        outcomes[_DUPLICATE] += count.duplicates
        outcomes[_CONFLICT] += count.conflicts
        outcomes[_DEAD_LETTER] += count.dead_letters
    return outcomes


def _described(processed: Processed, outcomes: Counter[str]) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": processed.topic,
        "messaging.batch.message_count": outcomes.total(),
        "tallybook.batch.id": processed.batch_id,
        **{f"tallybook.records.{outcome}": count for outcome, count in outcomes.items()},
    }


def _named(share: _Share) -> dict[str, str | int]:
    """Name the one record that a context is of; of a dead letter only the place is known."""
    if len(share.records) > 1:
        return {}
    record = share.records[0]
    place: dict[str, str | int] = {
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
    if _DEAD_LETTER in share.outcomes:
        return place
    name = name_of_record(record.value, record.headers)
    return place | {
        "cloudevents.event_source": name.source,
        "cloudevents.event_id": name.id,
        "cloudevents.event_type": name.type,
    }
