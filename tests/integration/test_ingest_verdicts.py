"""What ingest says of each event, and of a request of which nothing can be read."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import SOURCE, changed, encoded, execution, executions
from tests.integration.harness.world import BATCH, World

ONE = "application/cloudevents+json"


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.start("ingest", max_request_bytes=200_000, max_request_events=100)
        yield made


async def _values_on_log(world: World) -> list[bytes | None]:
    return [record.value for record in await world.log_records()]


def _verdicts(answer: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(result["verdict"], result["code"]) for result in answer["results"]]


def _assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"urn:tallybook:problem:{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]


async def test_one_event_is_accepted_and_stands_on_the_log_byte_for_byte(world: World) -> None:
    event = execution("solo", "one-1", time=world.period.start)
    response = await world.post(encoded(event), media_type=ONE)
    assert response.status_code == 200
    assert response.json() == {
        "accepted": 1,
        "duplicate": 0,
        "rejected": 0,
        "results": [
            {
                "id": "one-1",
                "source": SOURCE,
                "verdict": "accepted",
                "code": None,
                "detail": None,
                "pointer": None,
            }
        ],
    }
    assert encoded(event) in await _values_on_log(world)


async def test_a_batch_is_answered_event_by_event_in_order(world: World) -> None:
    events = executions("batch", 100, period=world.period)
    answer = await world.send(events)
    assert answer["accepted"] == 100
    assert [result["id"] for result in answer["results"]] == [event["id"] for event in events]


async def test_every_accepted_event_is_on_the_log_under_its_customer(world: World) -> None:
    customers = [f"keyed-{number}" for number in range(20)]
    events = [event for c in customers for event in executions(c, 5, period=world.period)]
    await world.send(events)
    found: dict[bytes, set[int]] = {}
    ids = []
    for record in await world.log_records():
        subject = msgspec.json.decode(record.value or b"")["subject"]
        assert record.key is not None
        assert record.key == subject.encode()
        if subject in customers:
            found.setdefault(record.key, set()).add(record.partition)
            ids.append(msgspec.json.decode(record.value or b"")["id"])
            assert dict(record.headers)["content-type"].startswith(ONE.encode())
    assert sorted(ids) == sorted(event["id"] for event in events)
    assert all(len(partitions) == 1 for partitions in found.values())
    assert len(set.union(*found.values())) > 1, "all customers on one partition"


async def test_one_bad_event_among_good_ones_does_not_sink_them(world: World) -> None:
    good = executions("mixed", 4, period=world.period)
    bad = execution("mixed", "bad", time=world.period.start, input_tokens=-1)
    answer = await world.send([*good[:2], bad, *good[2:]])
    assert (answer["accepted"], answer["rejected"]) == (4, 1)
    rejected = answer["results"][2]
    assert (rejected["id"], rejected["verdict"]) == ("bad", "rejected")
    assert (rejected["code"], rejected["pointer"]) == ("invalid_data", "/data/input_tokens")
    assert encoded(bad) not in await _values_on_log(world)


@pytest.mark.parametrize(
    ("break_it", "code", "pointer"),
    [
        ({"specversion": "0.3"}, "invalid_event", "/specversion"),
        ({"id": ""}, "invalid_event", "/id"),
        ({"id": "x" * 257}, "invalid_event", "/id"),
        ({"source": None}, "invalid_event", "/source"),
        ({"subject": 7}, "invalid_event", "/subject"),
        ({"subject": "a\x00b"}, "invalid_event", "/subject"),
        ({"time": "yesterday"}, "invalid_event", "/time"),
        ({"time": "2026-10-01T00:00:00"}, "invalid_event", "/time"),
        ({"data": "text"}, "invalid_data", "/data"),
        ({"data": {"status": "succeeded", "model": "m"}}, "invalid_data", "/data/execution_id"),
        ({"datacontenttype": "text/xml"}, "unsupported_datacontenttype", "/datacontenttype"),
    ],
)
async def test_a_bad_event_is_rejected_with_a_code_and_a_place(
    world: World, break_it: dict[str, Any], code: str, pointer: str
) -> None:
    event = {**execution("bad", "bad-1", time=world.period.start), **break_it}
    result = (await world.send([event]))["results"][0]
    assert (result["verdict"], result["code"], result["pointer"]) == ("rejected", code, pointer)
    assert result["detail"]


async def test_an_event_out_of_time_is_rejected(world: World) -> None:
    now = datetime.now(UTC)
    events = [
        execution("late", "too-old", time=now - timedelta(days=91)),
        execution("late", "just-in-time", time=now - timedelta(days=89)),
        execution("late", "soon", time=now + timedelta(seconds=60)),
        execution("late", "too-soon", time=now + timedelta(seconds=600)),
    ]
    assert _verdicts(await world.send(events)) == [
        ("rejected", "too_old"),
        ("accepted", None),
        ("accepted", None),
        ("rejected", "in_the_future"),
    ]


async def test_the_same_event_twice_in_a_request_is_a_duplicate(world: World) -> None:
    event = execution("twice", "twice-1", time=world.period.start)
    answer = await world.send([event, {**event, "data": dict(reversed(event["data"].items()))}])
    assert _verdicts(answer) == [("accepted", None), ("duplicate", None)]
    assert (await _values_on_log(world)).count(encoded(event)) == 1


async def test_the_same_id_with_other_content_in_a_request_is_a_conflict(world: World) -> None:
    event = execution("clash", "clash-1", time=world.period.start)
    answer = await world.send([event, changed(event, output_tokens=501)])
    assert _verdicts(answer) == [("accepted", None), ("rejected", "conflict")]


async def test_the_same_id_of_another_source_is_another_event(world: World) -> None:
    events = [
        execution("sources", "same", time=world.period.start, source=source)
        for source in ("agents/a", "agents/b")
    ]
    assert (await world.send(events))["accepted"] == 2


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[{]", b'{"an": "object"}', b"7", b"\xff\xfe", b"[" * 50_000]
)
async def test_a_malformed_batch_is_a_400_with_problem_details(world: World, body: bytes) -> None:
    _assert_problem(await world.post(body), 400, "invalid_json")


async def test_an_empty_batch_is_answered_with_no_verdicts(world: World) -> None:
    assert await world.send([]) == {"accepted": 0, "duplicate": 0, "rejected": 0, "results": []}


async def test_a_broken_single_event_is_rejected_not_an_error(world: World) -> None:
    response = await world.post(b'{"id": "broken', media_type=ONE)
    assert response.status_code == 200
    assert _verdicts(response.json()) == [("rejected", "invalid_json")]


async def test_a_body_that_is_too_large_is_refused(world: World) -> None:
    _assert_problem(await world.post(b" " * 200_001), 413, "too_large")


async def test_a_body_without_a_length_is_measured_as_it_comes(world: World) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1000

    headers = {"content-type": BATCH, "authorization": f"Bearer {world.producer_key}"}
    url = f"{world.settings.ingest_url}/v1/events"
    response = await world.http.post(url, content=endless(), headers=headers)
    _assert_problem(response, 413, "too_large")


async def test_too_many_events_are_refused(world: World) -> None:
    body = msgspec.json.encode(executions("many", 101, period=world.period))
    _assert_problem(await world.post(body), 413, "too_many_events")


async def test_one_event_that_is_too_large_is_rejected_alone(world: World) -> None:
    large = execution("large", "large", time=world.period.start, note="x" * 70_000)
    small = execution("large", "small", time=world.period.start)
    assert _verdicts(await world.send([large, small])) == [
        ("rejected", "too_large"),
        ("accepted", None),
    ]


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", ""])
async def test_another_media_type_is_refused(world: World, media_type: str) -> None:
    _assert_problem(await world.post(b"[]", media_type=media_type), 415, "unsupported_media_type")


async def test_parameters_of_the_media_type_do_not_matter(world: World) -> None:
    response = await world.post(b"[]", media_type=f"{BATCH}; charset=UTF-8")
    assert response.status_code == 200


async def test_another_method_is_refused(world: World) -> None:
    response = await world.http.get(f"{world.settings.ingest_url}/v1/events")
    _assert_problem(response, 405, "method_not_allowed")


async def test_fields_that_are_not_known_are_kept(world: World) -> None:
    event = execution("extra", "extra-1", time=world.period.start, team={"id": [1, "two"]})
    await world.send([{**event, "traceparent": "00-abc"}])
    kept = encoded({**event, "traceparent": "00-abc"})
    assert kept in await _values_on_log(world)


async def test_the_metrics_count_requests_bytes_events_and_acks(world: World) -> None:
    before = await world.metrics("ingest")
    events = executions("metrics", 3, period=world.period)
    body = msgspec.json.encode([*events, changed(events[0], status="odd")])
    assert (await world.post(body)).status_code == 200
    assert (await world.post(b"{}", media_type=BATCH)).status_code == 400
    after = await world.metrics("ingest")

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('tallybook_ingest_requests_total{status="200"}') == 1
    assert grown('tallybook_ingest_requests_total{status="400"}') == 1
    assert grown("tallybook_ingest_request_bytes_total") == len(body) + 2
    assert grown('tallybook_ingest_events_total{code="",verdict="accepted"}') == 3
    assert grown('tallybook_ingest_events_total{code="invalid_data",verdict="rejected"}') == 1
    assert grown("tallybook_ingest_ack_seconds_count") == 1
    assert grown("tallybook_ingest_written_events_total") == 3
    assert after["tallybook_ingest_in_flight_requests"] == 0
    assert after["tallybook_ingest_pending_events"] == 0


async def test_the_openapi_page_is_served(world: World) -> None:
    page = await world.http.get(f"{world.settings.ingest_url}/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "POST /v1/events" in page.text
