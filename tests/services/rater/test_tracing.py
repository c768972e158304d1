"""What became of a batch, in its own span and in the traces that its records came of."""

import json
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan

from services.rater.records import RecordReader
from services.rater.tracing import MOST_FOLLOWED, Processed, follow
from shared.events import STRUCTURED, TimeLimits
from shared.trace_context import TraceContext
from tests.services.rater.factories import TOPIC, LogRecord, log_of, shipped_meters
from tests.shared.factories import event_bytes, event_document, execution_data
from tests.shared.traces import KeptTraces

BEGAN = 1_790_000_000_000_000_000
SECRET = "sk-" + "ant-api03-" + "Ab3_-" * 18


def event(trace: int, name: str, *, sampled: bool = True, tokens: int = 1) -> bytes:
    parent = TraceContext(trace, 7, sampled=sampled).headers()[0][1].decode()
    return event_bytes(execution_data(input_tokens=tokens), id=name, traceparent=parent)


def followed(
    records: Sequence[LogRecord], *, sampled: bool = True
) -> tuple[ReadableSpan | None, dict[int, ReadableSpan]]:
    """Read records as one batch; gives its span, and those in other traces by trace id."""
    reader = RecordReader(shipped_meters(), TimeLimits(90, 300))
    reader.read(records)
    kept = KeptTraces()
    parent = TraceContext(1, 2, sampled=sampled)
    with kept.tracing.span("batch", parent=parent) as span:
        follow(kept.tracing, span, Processed(records, reader.batch, 42, BEGAN))
    others = {one.context.trace_id: one for one in kept.spans if one.context is not None}
    return others.pop(1, None), others


def test_each_outcome_is_told_in_the_trace_that_the_record_came_of() -> None:
    log = [
        event(11, "a"),
        event(12, "a"),
        event(13, "a", tokens=2),
        event(14, "b").replace(b'"succeeded"', b'"unheard of"'),
        event(15, "c", sampled=False),
        event_bytes(id="d"),
    ]
    batch, others = followed(log_of(*log))
    outcomes = {11: "stored", 12: "duplicate", 13: "conflict", 14: "dead_letter"}
    assert sorted(others) == sorted(outcomes)
    for trace, outcome in outcomes.items():
        attributes = dict(others[trace].attributes or {})
        assert attributes[f"tallybook.records.{outcome}"] == 1
        assert attributes["messaging.kafka.offset"] == trace - 11
        assert attributes["tallybook.batch.id"] == 42
        name = attributes.get("cloudevents.event_id")
        assert name == (None if outcome == "dead_letter" else "a")
        assert others[trace].start_time == BEGAN
        assert [one.context.trace_id for one in others[trace].links] == [1]
    assert batch is not None
    assert {one.context.trace_id for one in batch.links} == set(outcomes)
    attributes = dict(batch.attributes or {})
    assert attributes["messaging.batch.message_count"] == 6
    assert [attributes[f"tallybook.records.{name}"] for name in outcomes.values()] == [3, 1, 1, 1]


def test_many_events_of_one_trace_are_told_of_together() -> None:
    _, others = followed(log_of(event(11, "a"), event(11, "b"), event(11, "b")))
    attributes = dict(others[11].attributes or {})
    assert attributes["messaging.batch.message_count"] == 3
    assert attributes["tallybook.records.stored"] == 2
    assert attributes["tallybook.records.duplicate"] == 1
    assert "cloudevents.event_id" not in attributes


def test_a_batch_follows_no_more_traces_than_it_says() -> None:
    log = log_of(*(event(1000 + number, f"{number}") for number in range(MOST_FOLLOWED + 5)))
    batch, others = followed(log)
    assert len(others) == MOST_FOLLOWED
    assert batch is not None
    assert len(batch.links) == MOST_FOLLOWED


def test_nothing_points_to_a_batch_whose_own_trace_is_not_kept() -> None:
    batch, others = followed(log_of(event(11, "a")), sampled=False)
    assert batch is None
    assert others[11].links == ()


def test_what_holds_a_secret_is_told_nowhere() -> None:
    hidden = event(11, SECRET)
    _, others = followed([*log_of(hidden), LogRecord(None, 1, headers=[("traceparent", b"x")])])
    assert others == {}


def test_an_event_is_named_as_it_was_read() -> None:
    content = ("content-type", STRUCTURED)
    context = TraceContext(11, 7, sampled=True).headers()
    headers = [content, ("ce_id", SECRET.encode()), *context]
    _, others = followed([LogRecord(event_bytes(id="a"), headers=headers)])
    assert (others[11].attributes or {})["cloudevents.event_id"] == "a"
    whole = event_document(id="b")
    binary = [(f"ce_{name}", str(whole[name]).encode()) for name in whole if name != "data"]
    data = json.dumps({**whole["data"], "id": "c"}).encode()
    _, others = followed([LogRecord(data, headers=[*binary, *context])])
    assert (others[11].attributes or {})["cloudevents.event_id"] == "b"


def test_a_topic_is_named_and_no_customer() -> None:
    batch, others = followed(log_of(event(11, "a")))
    assert batch is not None
    for span in (batch, others[11]):
        assert (span.attributes or {})["messaging.destination.name"] == TOPIC
        assert "customer-1" not in span.to_json()
