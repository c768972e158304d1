"""The documents that ingest serves for programs: topics and event types, with a page."""

from collections.abc import AsyncIterator

import jsonschema
import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import execution
from tests.integration.harness.world import World


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start("ingest")
        yield made


async def test_the_topic_is_described(world: World) -> None:
    answer = await world.http.get(f"{world.settings.ingest_url}/asyncapi.json")
    document = answer.json()
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["usage"]["address"] == world.settings.usage_topic
    page = await world.http.get(f"{world.settings.ingest_url}/docs/topics")
    assert page.headers["content-type"].startswith("text/html")
    assert world.settings.usage_topic in page.text
    assert "ce_subject" in page.text
    for elsewhere in ("<script", "<link", "src=", "@import"):
        assert elsewhere not in page.text


async def test_metered_event_types_have_schemas(world: World) -> None:
    url = world.settings.ingest_url
    headers = {"Authorization": f"Bearer {world.producer_key}"}
    listed = (await world.http.get(f"{url}/v1/schemas", headers=headers)).json()["event_types"]
    (entry,) = listed
    assert entry["type"] == "ai.execution.finished"
    assert "executions" in entry["meters"]
    answer = await world.http.get(url + entry["schema"], headers=headers)
    assert answer.headers["content-type"] == "application/schema+json"
    validator = jsonschema.Draft202012Validator(answer.json())
    validator.validate(execution("ada", "1", time=world.period.start))
    assert not validator.is_valid(execution("", "1", time=world.period.start))


async def test_who_has_no_key_or_asks_for_another_type_is_told(world: World) -> None:
    url = f"{world.settings.ingest_url}/v1/schemas"
    assert (await world.http.get(url)).status_code == 401
    headers = {"Authorization": f"Bearer {world.producer_key}"}
    answer = await world.http.get(f"{url}/com.example.other", headers=headers)
    assert answer.status_code == 404
    assert "com.example.other" in answer.json()["detail"]
