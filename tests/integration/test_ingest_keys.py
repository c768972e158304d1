"""Who may send: keys in force, for their own sources and customers only."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.ingest.keys import revoke_key
from shared.keys import READ_EVENTS
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import execution, executions
from tests.integration.harness.world import BATCH, World


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.start("ingest")
        yield made


async def _status(world: World, key: str) -> int:
    return (await world.post(b"[]", key=key)).status_code


@pytest.mark.parametrize("key", ["tbk_wrong", "x", "x" * 5000])
async def test_a_wrong_key_is_refused(world: World, key: str) -> None:
    response = await world.post(b"[]", key=key)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["www-authenticate"] == "Bearer"


async def test_no_key_is_refused(world: World) -> None:
    url = f"{world.settings.ingest_url}/v1/events"
    for headers in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer"}):
        assert (await world.http.post(url, content=b"[]", headers=headers)).status_code == 401


async def test_a_new_key_works_at_once(world: World) -> None:
    await asyncio.sleep(0.3)  # ingest looks for an unknown key at most every 0.2 s
    _, key = await world.create_key()
    assert await _status(world, key) == 200


async def test_a_key_stops_when_it_expires(world: World) -> None:
    await asyncio.sleep(0.3)
    expires_at = datetime.now(UTC) + timedelta(seconds=1.5)
    _, key = await world.create_key(expires_at=expires_at)
    assert await _status(world, key) == 200
    await asyncio.sleep((expires_at - datetime.now(UTC)).total_seconds() + 0.05)
    assert await _status(world, key) == 401


async def test_a_revoked_key_stops_within_five_seconds(world: World) -> None:
    await asyncio.sleep(0.3)
    key_id, key = await world.create_key()
    assert await _status(world, key) == 200
    async with world.sessions("tallybook_ingest") as session:
        await revoke_key(session, key_id, actor="tests", now=datetime.now(UTC))
    revoked = time.monotonic()
    while await _status(world, key) == 200:
        assert time.monotonic() - revoked < 5, "the key still works after five seconds"
        await asyncio.sleep(0.1)
    assert await _status(world, key) == 401


async def test_a_key_without_the_scope_is_refused(world: World) -> None:
    await asyncio.sleep(0.3)
    _, key = await world.create_key(scopes=[READ_EVENTS])
    assert await _status(world, key) == 403
    assert await _status(world, world.finance_key) == 403


async def test_a_key_sends_only_for_its_sources_and_customers(world: World) -> None:
    await asyncio.sleep(0.3)
    _, key = await world.create_key(sources=["agents/a", "agents/c"], customers=["acme", "ada"])
    when = world.period.start
    events = [
        execution("acme", "k1", time=when, source="agents/a"),
        execution("acme", "k2", time=when, source="agents/b"),
        execution("other", "k3", time=when, source="agents/a"),
        execution("ada", "k4", time=when, source="agents/c"),
    ]
    results = (await world.send(events, key=key))["results"]
    assert [(r["code"], r["pointer"]) for r in results] == [
        (None, None),
        ("source_not_allowed", "/source"),
        ("customer_not_allowed", "/subject"),
        (None, None),
    ]
    subjects = {record.key for record in await world.log_records()}
    assert subjects == {b"acme", b"ada"}


async def test_the_database_holds_no_secret(world: World) -> None:
    rows = await world.fetch(
        "SELECT to_jsonb(k)::text AS row FROM api_keys k"
        " UNION ALL SELECT to_jsonb(a)::text FROM audit_entries a"
    )
    assert rows
    for secret in (world.producer_key, world.finance_key):
        assert not any(secret in row["row"] for row in rows)


async def test_a_key_sends_no_faster_than_it_may_and_others_do_not_notice(world: World) -> None:
    await asyncio.sleep(0.3)
    _, noisy = await world.create_key(events_per_second=20)
    _, calm = await world.create_key()
    await asyncio.sleep(0.3)
    events = executions("paced", 60, period=world.period)
    first = await world.post(msgspec.json.encode(events[:50]), key=noisy)
    assert first.status_code == 200
    assert first.headers["ratelimit-policy"] == '"events";q=20;w=1'
    assert first.headers["ratelimit"].startswith('"events";r=0;t=')
    refused = await world.post(msgspec.json.encode(events[50:]), key=noisy)
    assert refused.status_code == 429
    assert refused.json()["type"] == "urn:tallybook:problem:rate_limited"
    assert "ratelimit" in refused.headers
    answer = await world.post(msgspec.json.encode(events[:1]), key=calm)
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers
    await asyncio.sleep(int(refused.headers["retry-after"]))
    assert (await world.post(msgspec.json.encode(events[50:]), key=noisy)).status_code == 200
    on_log = [msgspec.json.decode(record.value or b"") for record in await world.log_records()]
    for event in events[50:]:
        assert on_log.count(event) == 1, "it was refused, and reached the log"


async def test_a_rate_for_all_keys_may_be_overruled_by_a_key(world: World) -> None:
    process = await world.start("ingest", key_events_per_second=5)
    _, quick = await world.create_key(events_per_second=1000)
    _, plain = await world.create_key()
    await asyncio.sleep(0.3)
    url = f"{process.url}/v1/events"
    policies = []
    for key in (quick, plain):
        headers = {"authorization": f"Bearer {key}", "content-type": BATCH}
        answer = await world.http.post(url, content=b"[]", headers=headers)
        policies.append(answer.headers["ratelimit-policy"])
    assert policies == ['"events";q=1000;w=1', '"events";q=5;w=1']


async def test_the_last_use_of_a_key_is_kept_by_every_service(world: World) -> None:
    """A refused request is a use too: it tells that somebody has the key."""
    await world.start("rater")
    key_id, key = await world.create_key()
    idle_id, _ = await world.create_key()
    await asyncio.sleep(0.3)
    headers = {"authorization": f"Bearer {key}"}
    before = datetime.now(UTC)
    assert await _status(world, key) == 200
    assert before <= await _used_since(world, key_id, before) <= datetime.now(UTC)
    before = datetime.now(UTC)
    url = f"{world.settings.rater_url}/v1/catalogue"
    assert (await world.http.get(url, headers=headers)).status_code == 403
    assert before <= await _used_since(world, key_id, before) <= datetime.now(UTC)
    async with world.connect() as connection, connection.transaction():
        await connection.execute("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", key_id)
        before = datetime.now(UTC)
        assert await _status(world, key) == 200
        other_id, other = await world.create_key()
        await asyncio.sleep(0.3)
        assert await _status(world, other) == 200
        await _used_since(world, other_id, before)
    assert before <= await _used_since(world, key_id, before)
    (idle,) = await world.fetch("SELECT last_used_at FROM api_keys WHERE id = $1", idle_id)
    assert idle["last_used_at"] is None


async def _used_since(world: World, key_id: str, moment: datetime) -> datetime:
    async with asyncio.timeout(10):
        while True:
            rows = await world.fetch("SELECT last_used_at FROM api_keys WHERE id = $1", key_id)
            used: datetime | None = rows[0]["last_used_at"]
            if used is not None and used >= moment:
                return used
            await asyncio.sleep(0.1)
