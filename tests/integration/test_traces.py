"""A trace goes from the producer through ingest and Kafka to the rater, and shows no payload."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import httpx
import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider

from shared.client import AsyncClient
from tests.integration.conftest import OpenWorld
from tests.integration.harness.collector import Collector, Seen, running_collector
from tests.integration.harness.events import Event, changed, encoded, execution, moment
from tests.integration.harness.ports import free_port
from tests.integration.harness.world import BATCH, World

MARK = "marked-value-2718"
CUSTOMER = f"ada-{MARK}"
JSON = b"application/json"
STRUCTURED = b"application/cloudevents+json; charset=UTF-8"


def parent(number: int, *, flags: str = "01") -> tuple[str, str, str]:
    """Make a context of a producer's: its trace id, its span id, and `traceparent`."""
    trace, span = f"{number:032x}", f"{number + 0xABC:016x}"
    return trace, span, f"00-{trace}-{span}-{flags}"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as made:
        yield made


@pytest.fixture(scope="module")
async def traced(new_world: OpenWorld, collector: Collector) -> AsyncIterator[World]:
    """Ingest and rater that send traces to the collector."""
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer(CUSTOMER, "byok")
        world.variables = collector.variables
        await asyncio.gather(world.start("ingest"), world.start("rater"))
        yield world


def event(world: World, name: str, **attributes: str) -> Event:
    made = execution(CUSTOMER, name, time=moment(world.period, days=1), key_label=MARK)
    return {**made, **attributes}


async def post(world: World, events: list[Event], **headers: str) -> httpx.Response:
    given = {"authorization": f"Bearer {world.producer_key}", "content-type": BATCH, **headers}
    url = f"{world.settings.ingest_url}/v1/events"
    response = await world.http.post(url, content=msgspec.json.encode(events), headers=given)
    assert response.status_code == 200, response.text
    return response


async def processed(collector: Collector, world: World, trace: str) -> Seen:
    """Wait for the rater's span in a trace of somebody else's."""
    name = f"process {world.settings.usage_topic}"
    return await collector.received("rater", name, trace=trace)


async def test_an_event_over_http_is_followed_into_its_own_trace(
    traced: World, collector: Collector
) -> None:
    trace, span, traceparent = parent(1)
    sent = event(traced, "own", traceparent=traceparent)
    await post(traced, [sent, event(traced, "own-other")])
    topic = traced.settings.usage_topic

    at_ingest = await collector.received("ingest", f"send {topic}", trace=trace)
    assert (at_ingest.kind, at_ingest.parent) == ("producer", span)
    assert at_ingest.attributes["messaging.batch.message_count"] == 1
    at_rater = await processed(collector, traced, trace)
    assert (at_rater.kind, at_rater.parent) == ("consumer", span)
    assert at_rater.attributes["cloudevents.event_id"] == "own"
    assert at_rater.attributes["cloudevents.event_source"] == sent["source"]
    assert at_rater.attributes["tallybook.records.stored"] == 1

    batch = await collector.received("rater", f"process {topic}", id=at_rater.links[0][1])
    assert (trace, span) in batch.links
    assert batch.parent == ""
    assert batch.attributes["tallybook.batch.id"] == at_rater.attributes["tallybook.batch.id"]
    for step in ("store events", "post line items", "commit"):
        await collector.received("rater", step, trace=batch.trace, parent=batch.id)
    (kept,) = [r for r in await traced.log_records() if b'"own"' in (r.value or b"")]
    assert kept.value == msgspec.json.encode(sent)


async def test_the_client_s_open_span_is_what_its_event_is_followed_to(
    traced: World, collector: Collector
) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("producer")
    async with AsyncClient(traced.settings.ingest_url, traced.producer_key) as client:
        with tracer.start_as_current_span("work") as span:
            await client.record(event(traced, "client"))
        assert await client.flush(60)
    own = span.get_span_context()
    found = await processed(collector, traced, f"{own.trace_id:032x}")
    assert found.parent == f"{own.span_id:016x}"
    assert found.attributes["cloudevents.event_id"] == "client"
    sent = await collector.received(
        "ingest", f"send {traced.settings.usage_topic}", trace=found.trace
    )
    assert sent.parent == found.parent


async def test_a_request_s_trace_goes_through_kafka_to_the_rater(
    traced: World, collector: Collector
) -> None:
    trace, span, traceparent = parent(2)
    state = {"tracestate": "vendor=kept"}
    events = [event(traced, "request-1"), event(traced, "request-2")]
    await post(traced, [*events, events[0], {"id": "bad"}], traceparent=traceparent, **state)
    topic = traced.settings.usage_topic

    request = await collector.received("ingest", "POST /v1/events", trace=trace)
    assert (request.kind, request.parent) == ("server", span)
    assert {name: request.attributes[name] for name in request.attributes} == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.route": "/v1/events",
        "http.response.status_code": 200,
        "tallybook.events.accepted": 2,
        "tallybook.events.duplicate": 1,
        "tallybook.events.rejected": 1,
    }
    sent = await collector.received("ingest", f"send {topic}", trace=trace)
    assert sent.parent == request.id
    assert sent.attributes["messaging.batch.message_count"] == 2
    at_rater = await processed(collector, traced, trace)
    assert at_rater.parent == sent.id
    assert at_rater.attributes["messaging.batch.message_count"] == 2
    records = [r for r in await traced.log_records() if b'"request-' in (r.value or b"")]
    assert [dict(r.headers) for r in records] == 2 * [
        {
            "content-type": STRUCTURED,
            "traceparent": f"00-{trace}-{sent.id}-01".encode(),
            "tracestate": b"vendor=kept",
        }
    ]


async def test_events_that_others_write_to_kafka_are_followed(
    traced: World, collector: Collector
) -> None:
    contexts = [parent(number) for number in (31, 32, 33)]
    in_attribute, in_header, in_event = (traceparent.encode() for _, _, traceparent in contexts)
    made = event(traced, "binary")
    attributes = [
        (f"ce_{name}", str(made[name]).encode())
        for name in ("specversion", "source", "type", "subject", "time")
    ]
    data = msgspec.json.encode(made["data"])
    binary = [("content-type", JSON), *attributes]
    await traced.produce(
        [data], headers=[*binary, ("ce_id", b"binary-1"), ("ce_traceparent", in_attribute)]
    )
    await traced.produce(
        [data], headers=[*binary, ("ce_id", b"binary-2"), ("traceparent", in_header)]
    )
    await traced.produce([encoded(event(traced, "structured", traceparent=in_event.decode()))])
    names = []
    for trace, span, _ in contexts:
        found = await processed(collector, traced, trace)
        assert found.parent == span
        names.append(found.attributes["cloudevents.event_id"])
    assert names == ["binary-1", "binary-2", "structured"]


async def test_an_event_without_a_context_is_in_the_trace_that_its_request_began(
    traced: World, collector: Collector
) -> None:
    before = {span.trace for span in collector.spans}
    await post(traced, [event(traced, "none")])
    (record,) = [r for r in await traced.log_records() if b'"none"' in (r.value or b"")]
    trace = dict(record.headers)["traceparent"].decode().split("-")[1]
    assert trace not in before
    assert (await collector.received("ingest", "POST /v1/events", trace=trace)).parent == ""
    found = await processed(collector, traced, trace)
    assert found.attributes["cloudevents.event_id"] == "none"


async def test_what_is_not_kept_or_no_context_is_not_followed(
    traced: World, collector: Collector
) -> None:
    unkept, _, unsampled = parent(41, flags="00")
    broken = [
        event(traced, "broken-1", traceparent=unsampled),
        event(traced, "broken-2", traceparent="00-abc"),
        event(traced, "broken-3", traceparent=f"ff-{'1' * 32}-{'2' * 16}-01"),
    ]
    response = await post(traced, broken, traceparent=unsampled)
    assert response.json()["accepted"] == 3
    trace, _, traceparent = parent(42)
    await post(traced, [event(traced, "after", traceparent=traceparent)], traceparent="nonsense")
    await processed(collector, traced, trace)
    await traced.caught_up()
    assert not [span for span in collector.spans if span.trace in (unkept, "1" * 32)]
    records = [r for r in await traced.log_records() if b'"broken-' in (r.value or b"")]
    assert [dict(r.headers) for r in records] == 3 * [{"content-type": STRUCTURED}]


async def test_a_retry_with_another_context_is_a_duplicate_in_every_mode(
    traced: World, collector: Collector
) -> None:
    first, over_http, binary, structured = (parent(number) for number in range(51, 55))
    sent = event(traced, "again", traceparent=first[2])
    await post(traced, [sent])
    await processed(collector, traced, first[0])
    await post(traced, [{**sent, "traceparent": over_http[2]}], traceparent=parent(55)[2])
    attributes = [
        (f"ce_{name}", str(sent[name]).encode())
        for name in ("specversion", "id", "source", "type", "subject", "time")
    ]
    await traced.produce(
        [msgspec.json.encode(sent["data"])],
        headers=[("content-type", JSON), *attributes, ("ce_traceparent", binary[2].encode())],
    )
    await traced.produce(
        [encoded({**sent, "traceparent": structured[2]})], headers=[("content-type", STRUCTURED)]
    )
    for trace, _, _ in (over_http, binary, structured):
        found = await processed(collector, traced, trace)
        assert found.attributes["tallybook.records.duplicate"] == 1
    await traced.caught_up()
    assert len(await traced.fetch("SELECT 1 FROM events WHERE id = 'again'")) == 1
    assert await traced.count("conflicts") == 0


async def test_no_span_shows_anything_of_a_payload(traced: World, collector: Collector) -> None:
    good, conflict, dead, secret = (parent(number) for number in range(61, 65))
    sent = event(traced, "shown", traceparent=good[2])
    await post(traced, [sent])
    await processed(collector, traced, good[0])
    other = changed(sent, output_tokens=7) | {"traceparent": conflict[2]}
    await post(traced, [other])
    found = await processed(collector, traced, conflict[0])
    assert found.attributes["tallybook.records.conflict"] == 1
    bad = changed(event(traced, "dead"), status=MARK) | {"traceparent": dead[2]}
    key = f"sk-ant-api03-{MARK}" + "a" * 90
    hidden = changed(event(traced, "hidden"), key_label=key) | {"traceparent": secret[2]}
    await traced.produce([encoded(hidden), encoded(bad)], key=MARK.encode(), partition=0)
    found = await processed(collector, traced, dead[0])
    assert found.attributes["tallybook.records.dead_letter"] == 1
    assert "cloudevents.event_id" not in found.attributes
    assert not [span for span in collector.spans if span.trace == secret[0]]
    path = f"/v1/events/{MARK}/{MARK}?of={MARK}"
    allowed = {"authorization": f"Bearer {traced.producer_key}"}
    await traced.http.get(f"{traced.settings.ingest_url}{path}", headers=allowed)
    await collector.received("ingest", "GET /v1/events/{source:path}/{id:path}")
    for span in collector.spans:
        for text in (MARK, traced.producer_key, "sk-ant-"):
            assert not [one for one in span.texts if text in one], span.name


async def test_a_collector_that_is_away_or_silent_changes_nothing(world: World) -> None:
    await world.apply_catalogue()
    await world.add_customer("ada", "byok")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # What cannot be sent is given up after a second, and not after ten.
        world.variables = {**away_at(free_port()), "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        ingest = await world.start("ingest")
        world.variables = away_at(silent.getsockname()[1])
        rater = await world.start("rater")
        for number in range(20):
            one = execution("ada", f"{number}", time=moment(world.period, days=1))
            assert (await world.send([one]))["accepted"] == 1
        await world.caught_up()
        assert (await world.totals()).events == {"ada": 20}
        await ingest.says("traces are late or lost")
        stopped = await asyncio.gather(ingest.stop(), rater.stop())
    assert {*stopped} == {-signal.SIGTERM}  # uvicorn ends by the signal that it got
    assert ingest.log_text().count("traces are late or lost") == 1
    assert "the last traces were not sent" in rater.log_text()


def away_at(port: int) -> dict[str, str]:
    endpoint = f"http://127.0.0.1:{port}"
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "10"}


async def test_without_a_collector_the_log_is_as_ever(world: World) -> None:
    await world.start("ingest")
    _, _, traceparent = parent(71)
    await post(world, [event(world, "plain")], traceparent=traceparent)
    (record,) = await world.log_records()
    assert list(record.headers) == [("content-type", STRUCTURED)]


async def test_the_last_spans_are_sent_when_a_service_stops(
    world: World, collector: Collector
) -> None:
    world.variables = {**collector.variables, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    ingest = await world.start("ingest")
    trace, _, traceparent = parent(81)
    await post(world, [event(world, "last")], traceparent=traceparent)
    assert not [span for span in collector.spans if span.trace == trace]
    await ingest.stop()
    assert collector.find("ingest", "POST /v1/events", trace=trace)
