"""Notices as their users see them: over HTTP, by commands, from processes that die."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from typer.testing import Result

from services.invoicer.notifying.outbox.putting import put_all
from services.invoicer.notifying.transport.addresses import AddressRefusedError
from shared.errors import InvalidInputError, NotFoundError, WrongUseError
from tests.integration.harness.commands import tallybook_here
from tests.integration.harness.waiting import until
from tests.integration.harness.world import World
from tests.services.invoicer.notifying.telling import notice, telling
from tests.services.invoicer.notifying.transport.receiver import Receiver

PRIVATE = {"TALLYBOOK_WEBHOOK_PRIVATE_ADDRESSES": "true"}


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

    await until(there)


async def _until_tried(world: World) -> None:
    """Wait until something came of an attempt of the only delivery."""

    async def tried() -> bool:
        rows = await world.fetch("SELECT last_answer FROM notice_deliveries")
        return bool(rows) and rows[0]["last_answer"] is not None

    await until(tried)


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

    receiver.answer = lambda place: (500, {"retry-after": "3600"}) if place == 1 else 204
    await _put(world, "inv_1")
    await _until_tried(world)
    (failed,) = (await http.get("/webhooks/deliveries?state=waiting")).json()["deliveries"]
    again = await http.post(f"/webhooks/deliveries/{failed['id']}/retry")
    assert again.json() == {"retried": 1}
    await _until_states(world, ["delivered"])
    assert receiver.ids[1:] == [notice("inv_1").id] * 2
    (done,) = (await http.get(f"/webhooks/deliveries?endpoint={added['id']}")).json()["deliveries"]
    assert (done["type"], done["subject"], done["state"]) == ("invoice.paid", "inv_1", "delivered")

    rotated = (await http.post(f"{path}/rotate")).json()
    assert rotated["secret"] not in (None, secret)
    await http.post(f"{path}/test")
    for one in (secret, rotated["secret"]):
        assert receiver.received[-1].is_signed_by(one)
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
    async with telling(world) as told:
        await told.add(host)
        await told.put(notice("inv_1"))
        await _until_tried(world)
        (one,) = await told.listed()
    assert one.state == "waiting"
    assert one.last_answer is not None
    assert "which is private" in one.last_answer
    assert receiver.received == []


async def test_a_token_in_a_url_is_shown_to_who_lists_endpoints_and_nowhere_else(
    world: World, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    service = await world.start("invoicer", webhook_private_addresses=True)
    here = receiver.url.partition("/hooks")[0]
    urls = [f"{base}/T0KEN/hooks?token=T0KEN" for base in (here, "https://nobody.invalid")]
    added = [await _add(http, url) for url in urls]
    receiver.answer = lambda place: (500, "lost", "no HTTP", 410)[place % 4]
    seen = [(await http.post(f"/webhooks/{one['id']}/test")).text for one in added * 3]
    await _put(world, "inv_1")
    await _until_states(world, ["waiting"] * 2)
    await receiver.has(4)

    async def is_disabled() -> bool:
        rows = await world.fetch("SELECT state FROM notice_endpoints ORDER BY created_at")
        return [row["state"] for row in rows] == ["disabled", "enabled"]

    await until(is_disabled)
    listed = (await http.get("/webhooks")).json()["endpoints"]
    assert [one["url"] for one in listed] == urls
    command = await tallybook_here(world, "webhooks", "list", "--json")
    assert [one["url"] for one in json.loads(command.stdout)["endpoints"]] == urls
    wrong = await http.post("/webhooks", json={"url": f"{urls[1]}#", "types": ["T0KEN"]})
    refused = await http.post("/webhooks", json={"url": "ftp://erp.example/T0KEN"})
    for answer in (wrong, refused):
        assert answer.status_code == 422
        seen.append(answer.text)
    for one in added:
        await http.delete(f"/webhooks/{one['id']}")
    rows = await world.fetch("SELECT row_to_json(a)::text AS whole FROM audit_entries a")
    seen += [row["whole"] for row in rows]
    assert sum("/…" in row["whole"] for row in rows) == 5
    rows = await world.fetch("SELECT row_to_json(e)::text AS whole FROM notice_endpoints e")
    seen += [row["whole"] for row in rows]
    seen.append((await http.get("/webhooks/deliveries")).text)
    seen.append(service.log_text())
    assert "a notice was not delivered" in seen[-1]
    assert [text for text in seen if "T0KEN" in text] == []


async def test_a_killed_process_loses_nothing_and_one_that_is_stopped_ends(
    world: World, http: httpx.AsyncClient, receiver: Receiver
) -> None:
    """It dies with every message taken and none answered; two others take over, and end."""
    receiver.answer = lambda place: "hang" if place < 3 else 204
    first = await world.start("invoicer", webhook_private_addresses=True)
    added = await _add(http, receiver.url)
    await _put(world, "a", "b", "c")
    await receiver.has(3)
    await first.kill()
    await _until_states(world, ["waiting"] * 3)
    await _let_leases_end(world)
    others = await asyncio.gather(
        *(world.start("invoicer", webhook_private_addresses=True) for _ in range(2))
    )
    await _until_states(world, ["delivered"] * 3)
    await _put(world, *(f"more {place}" for place in range(30)))
    await _until_states(world, ["delivered"] * 33)
    ids = [notice(key).id for key in ("a", "b", "c")]
    assert sorted(receiver.ids[:3]) == sorted(receiver.ids[3:6]) == sorted(ids)
    assert len(receiver.ids) == 36
    assert all(one.is_signed_by(added["secret"]) for one in receiver.received)
    receiver.answer = lambda _place: "hang"
    await _put(world, "last")
    await receiver.has(37)
    stopped = await asyncio.gather(*(one.stop() for one in others))
    assert -signal.SIGKILL not in stopped
    await _until_states(world, ["delivered"] * 33 + ["waiting"])


async def test_the_commands(world: World, receiver: Receiver) -> None:
    async def tallybook(*arguments: str) -> Result:
        return await tallybook_here(world, "webhooks", *arguments, **PRIVATE)

    public = await tallybook("add", "http://93.184.215.14/")
    assert isinstance(public.exception, AddressRefusedError)
    added = await tallybook("add", receiver.url, "--type", "invoice.paid", "--json")
    document = json.loads(added.stdout)
    endpoint, secret = document["id"], document["secret"]

    tested = await tallybook("test", endpoint)
    assert (tested.exit_code, "was taken: HTTP 204" in tested.output) == (0, True)
    assert receiver.received[-1].is_signed_by(secret)
    receiver.answer = lambda _place: 404
    failed = await tallybook("test", endpoint, "--json")
    assert (failed.exit_code, json.loads(failed.stdout)["answer"]) == (1, "HTTP 404")

    disabled = await tallybook("disable", endpoint, "--why", "it moves")
    assert disabled.output == f"{endpoint} is disabled\n"
    listed = await tallybook("list", "--json")
    (one,) = json.loads(listed.stdout)["endpoints"]
    assert (one["state"], one["disabled_because"]) == ("disabled", "it moves")
    listings = [await tallybook("list"), await tallybook("deliveries"), listed, tested, failed]
    assert not any(secret in ran.output for ran in listings)
    assert "nothing was told yet" in listings[1].output
    none_dead = await tallybook("deliveries", "--state", "dead", "--endpoint", endpoint)
    assert none_dead.output == "there are no such deliveries\n"

    for act in ("enable", "rotate", "remove"):
        ran = await tallybook(act, endpoint)
        assert (ran.exit_code, "whsec_" in ran.output) == (0, act == "rotate")
    for wrong, error in (
        (("retry",), WrongUseError),
        (("retry", "1", "--endpoint", endpoint), WrongUseError),
        (("retry", "1"), NotFoundError),
        (("retry", "--endpoint", endpoint), NotFoundError),
        (("deliveries", "--state", "lost"), WrongUseError),
        (("deliveries", "--endpoint", "ep_unknown"), NotFoundError),
        (("add", receiver.url, "--type", "x"), InvalidInputError),
    ):
        assert isinstance((await tallybook(*wrong)).exception, error)
