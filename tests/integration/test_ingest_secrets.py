"""A customer's Anthropic key is never accepted, stored, written to the log, or printed (I11)."""

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import encoded, execution, executions
from tests.integration.harness.world import World

SECRET = "sk-ant-api03-" + "b3IganVzdCBmb3IgdGVzdHM" * 3
PARTS = (SECRET, SECRET[13:33], SECRET[-20:])
"""The whole, and parts that must not come through either."""


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start("ingest")
        await made.start("rater")
        yield made


def _assert_free_of_secrets(text: str, where: str) -> None:
    for part in PARTS:
        assert part not in text, f"a part of the secret is in {where}"
        assert part.encode().hex() not in text, f"a part of the secret is in {where}, as bytes"


async def _database(world: World) -> str:
    """Give every row of every table, bytes as hexadecimal digits."""
    tables = await world.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = []
    for table in tables:
        rows.extend(await world.fetch(f"SELECT t::text AS row FROM {table['tablename']} t"))
    return "\n".join(row["row"] for row in rows)


async def _assert_kept_nowhere(world: World) -> None:
    _assert_free_of_secrets(await _database(world), "the database")
    for process in world.processes:
        _assert_free_of_secrets(process.log_text(), f"the log of {process.name}")


def _with_secret(world: World, **data: Any) -> dict[str, Any]:
    return execution("leaky", "leaky-1", time=world.period.start, **data)


async def test_an_event_with_a_secret_is_rejected_and_no_part_of_it_is_anywhere(
    world: World,
) -> None:
    good = executions("leaky", 2, period=world.period)
    leaks = [
        _with_secret(world, note=SECRET),
        _with_secret(world, deep={"er": [f"Bearer {SECRET}"]}),
        _with_secret(world, **{SECRET: 1}),
        _with_secret(world, key_label=SECRET),
        {**_with_secret(world), "id": SECRET},
        {**_with_secret(world), "source": f"agents/{SECRET}"},
        {**_with_secret(world), "subject": SECRET},
        {**_with_secret(world), "extension": SECRET},
    ]
    response = await world.post(msgspec.json.encode([good[0], *leaks, good[1]]))
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, len(leaks))
    for result in answer["results"][1:-1]:
        assert result["code"] == "secret_in_payload"
        assert (result["id"], result["source"]) == (None, None)
    _assert_free_of_secrets(response.text, "the answer")
    records = await world.log_records()
    assert [record.key for record in records] == [b"leaky", b"leaky"]
    for record in records:
        _assert_free_of_secrets((record.value or b"").decode(), "the Kafka log")
    await world.caught_up()
    await _assert_kept_nowhere(world)


async def test_a_secret_behind_escapes_is_found(world: World) -> None:
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in SECRET)
    body = encoded(_with_secret(world, note="PLACE")).replace(b"PLACE", escaped.encode())
    response = await world.post(b"[" + body + b"]")
    assert response.json()["results"][0]["code"] == "secret_in_payload"
    await _assert_kept_nowhere(world)


async def test_a_secret_in_binary_mode_is_rejected_and_no_part_of_it_is_anywhere(
    world: World,
) -> None:
    event = _with_secret(world)
    plain = {f"ce-{name}": value for name, value in event.items() if isinstance(value, str)}
    percent = "".join(f"%{ord(letter):02X}" for letter in SECRET)
    body = encoded(event["data"])
    records = len(await world.log_records())
    for headers, data in (
        ({**plain, "ce-id": SECRET}, body),
        ({**plain, "ce-subject": percent}, body),
        ({**plain, "ce-team": f'"{SECRET}"'}, body),
        ({**plain, f"ce-{SECRET}": "x"}, body),
        ({**plain, "ce-source": SECRET, "ce-id": "%FF"}, b"{"),
        (plain, encoded({**event["data"], "note": SECRET})),
    ):
        response = await world.http.post(
            f"{world.settings.ingest_url}/v1/events",
            content=data,
            headers={**headers, "authorization": f"Bearer {world.producer_key}"},
        )
        (result,) = response.json()["results"]
        assert (result["code"], result["id"]) == ("secret_in_payload", None)
        _assert_free_of_secrets(response.text, "the answer")
    assert len(await world.log_records()) == records
    await _assert_kept_nowhere(world)


async def test_a_secret_in_base64_data_is_rejected(world: World) -> None:
    event = _with_secret(world, note=SECRET)
    hidden = b64encode(encoded(event.pop("data"))).decode()
    (result,) = (await world.send([{**event, "data_base64": hidden}]))["results"]
    assert result["code"] == "secret_in_payload"


async def test_a_secret_in_a_body_that_cannot_be_read_is_not_echoed(world: World) -> None:
    for body in (SECRET.encode(), b'[{"id": "' + SECRET.encode(), b'[{"x": ' + SECRET.encode()):
        response = await world.post(body)
        assert response.status_code == 400
        _assert_free_of_secrets(response.text, "the answer")
    await _assert_kept_nowhere(world)


async def test_a_secret_in_place_of_the_api_key_is_not_echoed(world: World) -> None:
    response = await world.post(b"[]", key=SECRET)
    assert response.status_code == 401
    _assert_free_of_secrets(response.text, "the answer")
    await _assert_kept_nowhere(world)


async def test_a_secret_that_another_wrote_to_the_log_goes_no_further(world: World) -> None:
    before = await world.count("dead_letters")
    secret = SECRET.encode()
    await world.produce([encoded(_with_secret(world, note=SECRET))], headers=[("h", secret)])
    headers = [("ce_specversion", b"1.0"), ("ce_id", secret)]
    await world.produce([b"{}"], headers=headers)
    await world.produce([secret, b"{" + secret, b'{"id": "' + secret], key=secret)
    await world.caught_up()
    assert await world.count("dead_letters") == before + 5
    assert (await world.totals()).events == {"leaky": 2}
    await _assert_kept_nowhere(world)


async def test_the_services_log_no_api_key_of_a_producer(world: World) -> None:
    await world.send(executions("leaky", 2, period=world.period))
    for process in world.processes:
        assert world.producer_key not in process.log_text()
        assert world.settings.database_url.get_secret_value() not in process.log_text()
