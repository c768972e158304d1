"""Notices as their users see them: over HTTP, by commands, from processes that die."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.invoicer.notifying.outbox import put_all
from shared.web import wait_until
from tests.integration.harness.world import World
from tests.integration.test_invoicer_commands import tallybook
from tests.services.invoicer.notifying.receiver import Receiver, running_receiver
from tests.services.invoicer.notifying.telling import notice

PRIVATE = {"TALLYBOOK_WEBHOOK_PRIVATE_ADDRESSES": "true"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as made:
        yield made


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {world.finance_key}"}
    url = f"{world.settings.invoicer_url}/v1"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        yield client


async def _put(world: World, *keys: str) -> None:
    async with world.sessions("tallybook_invoicer") as session:
        await put_all(session, [notice(key) for key in keys])
        await session.commit()


async def _add(http: httpx.AsyncClient, url: str, **more: Any) -> Any:
    answer = await http.post("/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def _until_states(world: World, wanted: list[str]) -> None:
    async def there() -> bool:
        rows = await world.fetch("SELECT state FROM notice_deliveries ORDER BY id")
        return [row["state"] for row in rows] == wanted

    async with asyncio.timeout(60):
        await wait_until(there, first_delay=0.05, longest=0.05)


async def _let_leases_end(world: World) -> None:
    """As if the minutes had passed that a process has for an attempt."""
    await world.fetch(
        "UPDATE notice_deliveries SET next_attempt_at = now() WHERE state = 'waiting'"
    )


async def test_an_endpoint_over_http(
    world: World, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    service = await world.start("invoicer", webhook_private_addresses=True)
    added = await _add(http, receiver.url, types=["invoice.paid"], description="the ERP")
    secret, path = added.pop("secret"), f"/webhooks/{added['id']}"
    assert secret.startswith("whsec_")
    assert (await http.get("/webhooks")).json() == {"endpoints": [added]}

    tested = await http.post(f"{path}/test")
    assert tested.json() == {"endpoint": added["id"], "delivered": True, "answer": "HTTP 204"}
    assert receiver.received[0].is_signed_by(secret)
    assert receiver.received[0].document["data"]["example"] is True

    receiver.answer = lambda place: 500 if place == 1 else 204
    await _put(world, "inv_1")
    await receiver.has(2)
    await _until_states(world, ["waiting"])
    (failed,) = (await http.get("/webhooks/deliveries?state=waiting")).json()["deliveries"]
    again = await http.post(f"/webhooks/deliveries/{failed['id']}/retry")
    assert again.json() == {"retried": 1}
    await _until_states(world, ["delivered"])
    assert receiver.ids[1:] == [notice("inv_1").id] * 2
    (done,) = (await http.get(f"/webhooks/deliveries?endpoint={added['id']}")).json()["deliveries"]
    assert (done["type"], done["subject"], done["state"]) == ("invoice.paid", "inv_1", "delivered")

    rotated = (await http.post(f"{path}/rotate")).json()
    assert rotated["secret"] not in (None, secret)
    disabled = (await http.post(f"{path}/disable", json={"why": "it moves"})).json()
    assert (disabled["state"], disabled["disabled_because"]) == ("disabled", "it moves")
    assert (await http.post(f"{path}/enable")).json()["state"] == "enabled"
    assert (await http.post(f"{path}/retry")).json() == {"retried": 0}
    assert (await http.delete(path)).json()["state"] == "removed"
    assert (await http.post(f"{path}/enable")).status_code == 404

    rows = await world.fetch("SELECT act, row_to_json(a)::text AS whole FROM audit_entries a")
    acts = [row["act"] for row in rows if row["act"].startswith("webhook.")]
    assert acts == [f"webhook.{act}" for act in ("add", "rotate", "disable", "enable", "remove")]
    for shown in (secret, rotated["secret"]):
        assert shown not in service.log_text()
        assert not any(shown in row["whole"] for row in rows)
    metrics = await world.metrics("invoicer")
    assert metrics['tallybook_invoicer_notice_attempts_total{outcome="delivered"}'] == 1
    assert metrics['tallybook_invoicer_notice_attempts_total{outcome="failed"}'] == 1


async def test_what_is_refused_is_a_problem_that_says_why(
    world: World, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    await world.start("invoicer")
    for url in (receiver.url, "https://127.0.0.1/", "https://a:b@erp.example/", "gopher://x/"):
        answer = await http.post("/webhooks", json={"url": url})
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:tallybook:problem:address_refused"
    answer = await http.post("/webhooks", json={"url": "mailto:a@b.example"})
    assert (answer.status_code, "TALLYBOOK_SMTP_URL" in answer.json()["detail"]) == (422, True)
    answer = await http.post("/webhooks", json={"url": "https://b.example", "types": ["x"]})
    assert answer.status_code == 422
    del http.headers["authorization"]
    assert (await http.get("/webhooks")).status_code == 401
    # One that was added when that was allowed, or whose name has come to mean another address.
    host = receiver.url.replace("127.0.0.1", "localhost").replace("http:", "https:")
    added = await tallybook(world, "webhooks", "add", host, "--json", **PRIVATE)
    assert added.status == 0, added.err
    await _put(world, "inv_1")

    async def tried() -> bool:
        rows = await world.fetch("SELECT last_answer FROM notice_deliveries")
        return bool(rows) and rows[0]["last_answer"] is not None

    async with asyncio.timeout(60):
        await wait_until(tried, first_delay=0.05, longest=0.05)
    (one,) = (await tallybook(world, "webhooks", "deliveries", "--json")).document["deliveries"]
    assert (one["state"], "which is private" in one["last_answer"]) == ("waiting", True)
    assert receiver.received == []


async def test_a_killed_process_loses_nothing(
    world: World, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    """It dies with every message taken and none answered; two others take over."""
    receiver.answer = lambda place: "hang" if place < 3 else 204
    first = await world.start("invoicer", webhook_private_addresses=True)
    added = await _add(http, receiver.url)
    await _put(world, "a", "b", "c")
    await receiver.has(3)
    await first.kill()
    await _until_states(world, ["waiting"] * 3)
    await _let_leases_end(world)
    for _ in range(2):
        await world.start("invoicer", webhook_private_addresses=True)
    await _until_states(world, ["delivered"] * 3)
    await _put(world, *(f"more {place}" for place in range(30)))
    await _until_states(world, ["delivered"] * 33)
    ids = [notice(key).id for key in ("a", "b", "c")]
    assert sorted(receiver.ids[:3]) == sorted(receiver.ids[3:6]) == sorted(ids)
    assert len(receiver.ids) == 36
    assert all(one.is_signed_by(added["secret"]) for one in receiver.received)


async def test_a_receiver_that_hangs_keeps_no_process_from_ending(
    world: World, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.answer = lambda _place: "hang"
    service = await world.start("invoicer", webhook_private_addresses=True)
    await _add(http, receiver.url)
    await _put(world, "a")
    await receiver.has(1)
    assert await service.stop() != -signal.SIGKILL
    await _until_states(world, ["waiting"])


async def test_the_commands(world: World, receiver: Receiver) -> None:
    """What they do is tested over HTTP; here that they do it, and how they say it."""
    refused = await tallybook(world, "webhooks", "add", receiver.url)
    assert (refused.status, "TALLYBOOK_WEBHOOK_PRIVATE_ADDRESSES" in refused.err) == (1, True)
    only = ("--type", "invoice.paid")
    added = await tallybook(world, "webhooks", "add", receiver.url, *only, "--json", **PRIVATE)
    endpoint, secret = added.document["id"], added.document["secret"]

    receiver.answer = lambda place: 204 if place == 0 else 404
    tested, failed = await asyncio.gather(
        tallybook(world, "webhooks", "test", endpoint, **PRIVATE),
        tallybook(world, "webhooks", "test", endpoint, **PRIVATE),
    )
    assert sorted((tested.status, failed.status)) == [0, 1]
    assert "HTTP 204" in tested.out + failed.out
    assert "HTTP 404" in tested.out + failed.out
    assert receiver.received[-1].is_signed_by(secret)

    disabled = await tallybook(world, "webhooks", "disable", endpoint, "--why", "it moves")
    assert disabled.out == f"{endpoint} is disabled\n"
    listed = await tallybook(world, "webhooks", "list", "--json")
    (one,) = listed.document["endpoints"]
    assert (one["state"], one["disabled_because"]) == ("disabled", "it moves")
    assert secret not in listed.out + disabled.out + tested.out + failed.out

    for act in ("enable", "rotate", "remove"):
        ran = await tallybook(world, "webhooks", act, endpoint)
        assert ran.status == 0, ran.err
        assert ("whsec_" in ran.out) == (act == "rotate")
    both = await tallybook(world, "webhooks", "retry", "1", "--endpoint", endpoint)
    assert (both.status, "name one delivery" in both.err) == (2, True)
    unknown = await tallybook(world, "webhooks", "retry", "1")
    assert (unknown.status, "webhooks deliveries" in unknown.err) == (1, True)
