"""Traces what became of a batch: in its own span, and in the traces that its records came of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from services.rater.batch import Batch, Record, StoredEvent
from shared.trace_context import TraceContext, contexts_of_record
from shared.tracing import Span, Tracing, context_of, link

log = structlog.get_logger("tallybook.rater")

MOST_FOLLOWED = 128
"""Most traces that one batch is noted in, and linked to; the SDK keeps no more links either."""

_STORED, _DUPLICATE, _CONFLICT, _DEAD_LETTER = "stored", "duplicate", "conflict", "dead_letter"

_Place = tuple[int, int]
"""A record's partition and offset."""


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


class _Fate(NamedTuple):
    """What became of a record, and which event it was if it was one."""

    place: _Place
    outcome: str
    event: StoredEvent | None


def follow(tracing: Tracing, span: Span, processed: Processed) -> None:
    """Say in a batch's span what became of it, and in each trace that a record of it came of.

    Whatever goes wrong here, the batch stands.
    """
    try:
        span.set_attributes(_described(processed, _outcomes(processed)))
        own = context_of(span)
        links = [own] if own.sampled else []
        for context, fates in _by_context(processed).items():
            link(span, context)
            outcomes = Counter(fate.outcome for fate in fates)
            tracing.begin(
                f"process {processed.topic}",
                _described(processed, outcomes) | (_named(fates[0]) if len(fates) == 1 else {}),
                kind="consumer",
                parent=context,
                links=links,
                since=processed.began,
            ).end()
    except Exception:
        log.exception("a batch could not be traced; it is rated all the same")


def _by_context(processed: Processed) -> dict[TraceContext, list[_Fate]]:
    """Sort what became of the records that came of a trace that is kept by its context."""
    found: dict[TraceContext, list[_Place]] = {}
    for record in processed.records:
        for context in contexts_of_record(record.value, record.headers):
            if context.sampled and (context in found or len(found) < MOST_FOLLOWED):
                found.setdefault(context, []).append((record.partition, record.offset))
    if not found:
        return {}
    fates = _fates(processed.batch, set().union(*found.values()))
    return {
        context: told
        for context, places in found.items()
        if (told := [fates[place] for place in places if place in fates])
    }


def _fates(batch: Batch, places: set[_Place]) -> dict[_Place, _Fate]:
    """Give what became of some records; none of those of which nothing is kept as it is secret."""
    fates: dict[_Place, _Fate] = {}
    for outcome, events in (
        (_STORED, batch.events),
        (_DUPLICATE, batch.duplicates),
        (_CONFLICT, batch.conflicts),
    ):
        for event in events:
            place = event.partition, event.offset
            if place in places:
                fates[place] = _Fate(place, outcome, event)
    for letter in batch.dead_letters:
        place = letter.partition, letter.offset
        if place in places and letter.payload is not None:
            fates[place] = _Fate(place, _DEAD_LETTER, None)
    return fates


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


def _named(fate: _Fate) -> dict[str, str | int]:
    """Name a record; of a dead letter only the place is known."""
    partition, offset = fate.place
    named: dict[str, str | int] = {
        "messaging.destination.partition.id": str(partition),
        "messaging.kafka.offset": offset,
    }
    if fate.event is not None:
        named["cloudevents.event_source"] = fate.event.source
        named["cloudevents.event_id"] = fate.event.id
        named["cloudevents.event_type"] = fate.event.type
    return named
