"""CloudEvents' SDKs send to a running ingest, and write to the log, as they come.

The requests of the JavaScript and Go SDKs were recorded byte for byte, by
cloudevents_sdks/record.cjs, as neither language need be on the machine of a test.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import zstandard
from cloudevents.core.bindings import http as http_binding
from cloudevents.core.bindings import kafka as kafka_binding
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import conversion
from cloudevents.v1.http import CloudEvent as OlderCloudEvent

from shared.executions import EXECUTION_FINISHED
from tests.integration.conftest import OpenWorld
from tests.integration.harness.console_producer import write_lines
from tests.integration.harness.events import SOURCE, Event, encoded, execution, executions
from tests.integration.harness.world import BATCH, World

RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "cloudevents_sdks/requests.json").read_text(encoding="utf-8")
)
SUBJECTS = {"javascript": "sdk-javascript", "go": "sdk-gö"}
ALL_TIME: dict[str, Any] = {"max_event_age_days": 36_500, "max_event_skew_seconds": 3_000_000_000}
"""The recorded events keep their time while the years go by."""


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start("ingest", max_request_bytes=200_000, **ALL_TIME)
        await made.start("rater", **ALL_TIME)
        yield made


async def _post(world: World, headers: dict[str, str], body: bytes) -> httpx.Response:
    authorized = {"authorization": f"Bearer {world.producer_key}", **headers}
    return await world.http.post(
        f"{world.settings.ingest_url}/v1/events", content=body, headers=authorized
    )


async def _on_log(world: World, name: str) -> Event:
    """Give the one event of an id that stands on the log."""
    found = [msgspec.json.decode(record.value or b"") for record in await world.log_records()]
    (event,) = [event for event in found if event["id"] == name]
    assert isinstance(event, dict)
    return event


def _attributes(world: World, name: str, subject: str = "python") -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": EXECUTION_FINISHED,
        "source": SOURCE,
        "id": name,
        "subject": subject,
        "time": world.period.start,
        "datacontenttype": "application/json",
        "team": "blue, 50 %",
    }


def _sdk_event(world: World, name: str, subject: str = "Zoë & Söhne") -> CloudEvent:
    data = execution(subject, name, time=world.period.start)["data"]
    return CloudEvent(_attributes(world, name, subject), data)


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_the_python_sdk_sends_as_it_comes(world: World, mode: str) -> None:
    event = _sdk_event(world, f"python {mode}")
    write = getattr(http_binding, f"to_{mode}_event")
    message = write(event)
    response = await _post(world, message.headers, message.body)
    assert response.json()["accepted"] == 1, response.text
    kept = await _on_log(world, f"python {mode}")
    assert kept["subject"] == "Zoë & Söhne"
    assert kept["team"] == "blue, 50 %"
    assert kept["data"] == event.get_data()


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_the_older_interface_of_the_python_sdk_sends_as_it_comes(
    world: World, mode: str
) -> None:
    attributes = {**_attributes(world, f"older {mode}"), "time": world.period.start.isoformat()}
    del attributes["datacontenttype"]
    event = OlderCloudEvent(attributes, execution("python", "1", time=world.period.start)["data"])
    headers, body = getattr(conversion, f"to_{mode}")(event)
    response = await _post(world, headers, body)
    assert response.json()["accepted"] == 1, response.text
    assert (await _on_log(world, f"older {mode}"))["data"] == event.data


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda it: f"{it['sdk']}-{it['mode']}")
async def test_the_recorded_requests_of_other_sdks_are_taken(
    world: World, recorded: dict[str, Any]
) -> None:
    sdk, mode, count = recorded["sdk"], recorded["mode"], recorded["events"]
    answer = await _replay(world, recorded["request"])
    assert answer["accepted"] == len(answer["results"]) == count
    for number in range(1, count + 1):
        kept = await _on_log(world, f"{sdk} {mode}-{number}")
        assert kept["subject"] == SUBJECTS[sdk]
        assert kept["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c")
        assert kept["data"]["execution_id"] == f"x{number}"


async def _replay(world: World, recorded: str) -> dict[str, Any]:
    """Send a recorded request as it is, but for its key, and read the answer."""
    address = httpx.URL(world.settings.ingest_url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(
            recorded.replace("Bearer KEY", f"Bearer {world.producer_key}").encode("latin1")
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        answer: dict[str, Any] = json.loads(await reader.readexactly(length))
    finally:
        writer.close()
    return answer


async def test_a_bad_event_in_binary_mode_has_a_verdict(world: World) -> None:
    message = http_binding.to_binary_event(_sdk_event(world, "bad"))
    for changes, body, code, pointer in (
        ({"ce-id": ""}, None, "invalid_event", "/id"),
        ({"ce-subject": "%FF"}, None, "invalid_event", "/subject"),
        ({"ce-subject": "a%00b"}, None, "invalid_event", "/subject"),
        ({"ce-specversion": "0.3"}, None, "invalid_event", "/specversion"),
        ({"content-type": "text/plain"}, None, "unsupported_datacontenttype", "/datacontenttype"),
        ({}, b"{", "invalid_json", "/data"),
        ({}, b"", "invalid_event", "/data"),
        ({}, b'{},"subject":"another"', "invalid_json", "/data"),
    ):
        response = await _post(
            world, {**message.headers, **changes}, message.body if body is None else body
        )
        (result,) = response.json()["results"]
        assert (result["code"], result["pointer"]) == (code, pointer)


async def test_the_same_event_in_both_modes_is_one_event(world: World) -> None:
    event = _sdk_event(world, "twice", "modes")
    for message in (http_binding.to_binary_event(event), http_binding.to_structured_event(event)):
        assert (await _post(world, message.headers, message.body)).json()["accepted"] == 1
    await world.caught_up()
    rows = await world.fetch("SELECT count(*) FROM events WHERE id = 'twice'")
    assert rows[0][0] == 1
    assert await world.fetch("SELECT 1 FROM dead_letters") == []


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compressed_request_is_taken_and_its_bomb_refused(
    world: World, encoding: str
) -> None:
    def compress(body: bytes) -> bytes:
        return gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)

    headers = {"content-type": BATCH, "content-encoding": encoding}
    events = executions(f"small-{encoding}", 50, period=world.period)
    body = msgspec.json.encode(events)
    assert (await _post(world, headers, compress(body))).json()["accepted"] == 50
    for sent, status, code in (
        (compress(b" " * 200_001), 413, "too_large"),
        (compress(b" " * 50_000_000), 413, "too_large"),
        (compress(body)[:-3], 400, "invalid_encoding"),
        (body, 400, "invalid_encoding"),
    ):
        response = await _post(world, headers, sent)
        assert response.status_code == status, response.text
        assert response.json()["type"].endswith(f":{code}")


async def test_another_encoding_is_refused_with_those_that_are_taken(world: World) -> None:
    response = await _post(world, {"content-type": BATCH, "content-encoding": "br"}, b"[]")
    assert response.status_code == 415
    assert response.json()["type"].endswith(":unsupported_encoding")
    assert response.headers["accept-encoding"] == "gzip, zstd"


class TestKafka:
    """What others write straight to the topic."""

    @pytest.mark.parametrize("mode", ["binary", "structured"])
    async def test_the_python_sdks_records_are_rated(self, world: World, mode: str) -> None:
        write = getattr(kafka_binding, f"to_{mode}_event")
        message = write(_sdk_event(world, f"kafka {mode}", f"kafka-{mode}"))
        await world.produce([message.value], headers=list(message.headers.items()))
        await world.caught_up()
        (row,) = await world.fetch(
            "SELECT customer_id, data::text FROM events WHERE id = $1", f"kafka {mode}"
        )
        assert row["customer_id"] == f"kafka-{mode}"
        assert json.loads(row["data"])["execution_id"] == f"run-kafka {mode}"

    async def test_what_is_no_event_is_a_dead_letter(self, world: World) -> None:
        message = kafka_binding.to_binary_event(_sdk_event(world, "dead"))
        structured = encoded(execution("dead", "dead", time=world.period.start))
        for changes, value, code, pointer in (
            ({"ce_subject": b"\xff"}, message.value, "invalid_event", "/subject"),
            ({"ce_time": b"now"}, message.value, "invalid_event", "/time"),
            ({}, b"[", "invalid_json", "/data"),
            ({}, None, "invalid_event", "/data"),
            (
                {"content-type": b"application/cloudevents+avro"},
                structured,
                "unsupported_format",
                None,
            ),
        ):
            headers = list({**message.headers, **changes}.items())
            (place,) = await world.produce([value], key=b"dead", headers=headers)
            await world.caught_up()
            (row,) = await world.fetch(
                "SELECT code, pointer FROM dead_letters WHERE partition = $1 AND log_offset = $2",
                *place,
            )
            assert (row["code"], row["pointer"]) == (code, pointer)

    async def test_what_kafkas_console_producer_writes_is_rated(self, world: World) -> None:
        kafka, topic = world.settings.kafka_bootstrap_servers, world.settings.usage_topic
        structured = execution("console", "console 1", time=world.period.start)
        await write_lines(kafka, topic, [encoded(structured).decode(), "no event"])
        binary = execution("console", "console 2", time=world.period.start)
        named = {name: value for name, value in binary.items() if isinstance(value, str)}
        headers = ";".join(f"ce_{name}={value}" for name, value in named.items())
        await write_lines(
            kafka,
            topic,
            [f"{headers};content-type=application/json\t{encoded(binary['data']).decode()}"],
            "parse.headers=true",
            "headers.separator=;",
            "headers.key.separator==",
        )
        await world.caught_up()
        rows = await world.fetch("SELECT id FROM events WHERE customer_id = 'console' ORDER BY id")
        assert [row["id"] for row in rows] == ["console 1", "console 2"]
        dead = await world.fetch("SELECT code FROM dead_letters WHERE payload = 'no event'")
        assert [row["code"] for row in dead] == ["invalid_json"]
