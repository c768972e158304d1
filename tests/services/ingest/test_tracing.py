"""Events on their way to Kafka: which spans there are, and which headers the records get."""

import pytest

from services.ingest.tracing import MOST_FOLLOWED, sending
from shared.trace_context import TraceContext
from shared.tracing import OFF
from tests.shared.factories import event_bytes
from tests.shared.traces import KeptTraces

REQUEST = TraceContext(1, 2, sampled=True)
TOPIC = "usage.events"


def record(number: int, *, sampled: bool = True) -> tuple[str, bytes]:
    parent = TraceContext(100 + number, 7, sampled=sampled).headers()[0][1].decode()
    return "customer-1", event_bytes(traceparent=parent)


def test_a_request_that_is_traced_takes_its_trace_to_kafka() -> None:
    kept = KeptTraces()
    records = [("customer-1", event_bytes())] * 2
    with (
        kept.tracing.span("request", parent=REQUEST),
        sending(kept.tracing, TOPIC, records) as headers,
    ):
        pass
    sent, request = kept.spans
    assert sent.parent == request.context
    assert sent.attributes is not None
    assert sent.attributes["messaging.batch.message_count"] == 2
    assert sent.context is not None
    assert headers == [("traceparent", f"00-{1:032x}-{sent.context.span_id:016x}-01".encode())]


def test_a_request_that_is_not_adds_no_header() -> None:
    kept = KeptTraces()
    with (
        kept.tracing.span("request", parent=REQUEST._replace(sampled=False)),
        sending(kept.tracing, TOPIC, [record(1)]) as headers,
    ):
        assert headers == []
    (followed,) = kept.spans
    assert followed.context is not None
    assert followed.context.trace_id == 101
    assert followed.links == ()


def test_events_are_followed_once_a_trace_that_is_kept_and_not_without_bound() -> None:
    kept = KeptTraces()
    records = [record(0), record(0), record(1, sampled=False)]
    records += [record(number) for number in range(2, 2 + MOST_FOLLOWED)]
    with sending(kept.tracing, TOPIC, records):
        pass
    spans = {span.context.trace_id: span for span in kept.spans if span.context is not None}
    followed = [trace for trace in spans if 100 <= trace < 1000]
    assert len(followed) == MOST_FOLLOWED
    assert 101 not in followed
    first = spans[100]
    assert first.attributes is not None
    assert first.attributes["messaging.batch.message_count"] == 2


def test_every_trace_is_told_of_a_failure() -> None:
    kept = KeptTraces()
    with pytest.raises(ValueError, match="payload"), sending(kept.tracing, TOPIC, [record(1)]):
        raise ValueError("the payload")
    assert len(kept.spans) == 2
    for span in kept.spans:
        assert not span.status.is_ok
        assert "payload" not in span.to_json()


def test_without_traces_there_are_no_headers() -> None:
    with sending(OFF, TOPIC, [record(1)]) as headers:
        assert headers == []
