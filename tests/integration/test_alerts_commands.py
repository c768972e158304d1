"""Alerts by command and over HTTP: what is asked for wrongly is said, and each act is audited."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.invoicer.alerts.adding import InvalidAlertError
from shared.errors import NotFoundError
from shared.periods import Period
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook, tallybook_here
from tests.integration.harness.events import executions
from tests.integration.harness.waiting import until
from tests.integration.harness.world import World
from tests.services.invoicer.notifying.transport.receiver import running_receiver


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world with all services, the invoicer's evaluating ten times a second."""
    async with new_world() as made:
        await made.apply_catalogue()
        await made.add_customer("acme", "standard")
        await asyncio.gather(
            made.start("ingest"),
            made.start("rater"),
            made.start(
                "invoicer", webhook_private_addresses=True, alerts_seconds=0.1, silence_seconds=0.1
            ),
        )
        yield made


async def ask(
    world: World, method: str, path: str, body: Any = None, *, key: str | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {world.finance_key if key is None else key}"}
    url = f"{world.settings.invoicer_url}/v1/{path}"
    return await world.http.request(method, url, json=body, headers=headers)


async def test_from_an_event_to_a_webhook_and_what_was_raised(world: World) -> None:
    async with running_receiver() as receiver:
        wanted = {"url": receiver.url, "types": ["usage.threshold_reached"]}
        endpoint = (await ask(world, "POST", "webhooks", wanted)).json()
        alert, found = await raise_one(world)
        await receiver.has(1)
        (message,) = receiver.received
    assert message.is_signed_by(endpoint["secret"])
    assert message.document["type"] == "usage.threshold_reached"
    assert {**message.document["data"], "raised_at": found["raised_at"]} == found
    assert message.document["timestamp"] == found["raised_at"]

    shown = await tallybook_here(world, "alerts", "raised", "--customer", "acme", "--json")
    assert json.loads(shown.stdout) == {"raised": [found], "more": False}
    metrics = await world.metrics("invoicer")
    assert metrics['tallybook_invoicer_alerts_raised_total{type="usage.threshold_reached"}'] == 1
    for work in ("thresholds", "sources"):
        name = f'tallybook_invoicer_alerts_evaluated_timestamp_seconds{{work="{work}"}}'
        assert metrics[name] > datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    await remove(world, alert)


async def raise_one(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
    """Add an alert by command, and send the events that reach its first threshold."""
    month = str(world.period)
    added = await tallybook_here(
        world, "alerts", "add", "--customer", "acme", "--budget", "0.56", "--percent", "100",
        "--percent", "50", "--since", month, "--json",
    )  # fmt: skip
    assert added.exit_code == 0, added.exception
    alert = json.loads(added.stdout)
    assert (alert["on"], alert["currency"], alert["meter"]) == ("spend", "USD", None)
    assert (alert["budget"], alert["percents"], alert["thresholds"]) == ("0.56", ["50", "100"], [])
    listed = await tallybook_here(world, "alerts", "list")
    assert alert["id"] in listed.stdout
    assert "50 %, 100 %" in listed.stdout

    await world.send(executions("acme", 9, period=world.period))
    found: list[dict[str, Any]] = []

    async def first_is_raised() -> bool:
        answer = await ask(world, "GET", f"alerts/raised?customer=acme&period={month}")
        found[:] = answer.json()["raised"]
        return bool(found)

    await until(first_is_raised)
    (one,) = found
    assert one["raised_at"] is not None
    assert {**one, "raised_at": None} == {
        "alert": alert["id"],
        "customer": "acme",
        "period": month,
        "on": "spend",
        "currency": "USD",
        "meter": None,
        "threshold": "0.28",
        "reached": one["reached"],
        "budget": "0.56",
        "percent": "50",
        "raised_at": None,
    }
    return alert, one


async def remove(world: World, alert: dict[str, Any]) -> None:
    """Remove it by command, which stands in the audit."""
    removed = await tallybook_here(world, "alerts", "remove", alert["id"])
    assert (removed.exit_code, removed.stdout.strip()) == (0, f"{alert['id']} is removed")
    again = await tallybook(world, "alerts", "remove", alert["id"])
    assert (again.status, again.out) == (1, "")
    (line,) = again.err.strip().splitlines()
    assert "was removed before" in line
    assert (await ask(world, "GET", "alerts")).json() == {"alerts": []}
    entries = await world.fetch(
        "SELECT act, actor, before, after FROM audit_entries WHERE subject = $1 ORDER BY id",
        alert["id"],
    )
    assert [entry["act"] for entry in entries] == ["alert.add", "alert.remove"]
    assert all(entry["actor"].startswith("cli:") for entry in entries)
    assert entries[0]["after"] == entries[1]["before"]


WRONG = [
    ({"customer": "nobody", "thresholds": ["5"]}, 404, "there is no customer 'nobody'"),
    ({"meter": "nothing", "thresholds": ["5"]}, 404, "there is no meter 'nothing'"),
    ({"customer": "acme", "currency": "EUR", "thresholds": ["5"]}, 422, "in USD, not in EUR"),
    ({"thresholds": ["5"]}, 422, "needs a currency"),
    ({"currency": "XYZ", "thresholds": ["5"]}, 422, "currency 'XYZ' is not known"),
    ({"customer": "acme", "thresholds": ["0"]}, 422, "greater than 0"),
    ({"customer": "acme", "thresholds": ["five"]}, 422, "valid decimal"),
    ({"customer": "acme", "percents": ["80"]}, 422, "say how much"),
    ({"customer": "acme", "thresholds": ["5", "5.0"]}, 422, "named twice"),
    ({"customer": "acme"}, 422, "at least one threshold"),
    ({"customer": "acme", "thresholds": ["5"], "since": "2026-13"}, 422, "not a period"),
]


@pytest.mark.parametrize(("body", "status", "words"), WRONG)
async def test_what_is_wrong_is_said(
    world: World, body: dict[str, Any], status: int, words: str
) -> None:
    answer = await ask(world, "POST", "alerts", body)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ("--customer nobody --at 5", NotFoundError, "there is no customer 'nobody'"),
        ("--customer acme --at five", InvalidAlertError, "'five' is no decimal number"),
    ],
)
async def test_a_command_says_it_too(
    world: World, arguments: str, error: type[Exception], words: str
) -> None:
    ran = await tallybook_here(world, "alerts", "add", *arguments.split())
    with pytest.raises(error, match=words):
        raise ran.exception or AssertionError(ran.stdout)


async def test_the_same_over_http(world: World) -> None:
    body = {"customer": "acme", "meter": "executions", "thresholds": ["1000", "20.5"]}
    added = await ask(world, "POST", "alerts", body)
    assert added.status_code == 201
    alert = added.json()
    assert (alert["thresholds"], alert["since"]) == (
        ["20.5", "1000"],
        str(Period.of(datetime.now(UTC))),
    )
    twice = await ask(world, "POST", "alerts", {**body, "since": "2026-01"})
    assert (twice.status_code, "the same alert" in twice.json()["detail"]) == (409, True)
    assert (await ask(world, "GET", "alerts")).json() == {"alerts": [alert]}
    wrong = await ask(world, "POST", "alerts", {"percents": ["80"]})
    assert (wrong.status_code, wrong.json()["type"]) == (422, "urn:tallybook:problem:invalid_alert")
    assert (await ask(world, "GET", "alerts/raised?customer=nobody")).status_code == 404
    assert (await ask(world, "GET", "alerts/raised?period=2026")).status_code == 422
    assert (await ask(world, "GET", "alerts", key=world.producer_key)).status_code == 403
    removed = await ask(world, "DELETE", f"alerts/{alert['id']}")
    assert removed.json() == {**alert, "removed_at": removed.json()["removed_at"]}
    assert removed.json()["removed_at"] is not None
    assert (await ask(world, "DELETE", "alerts/nothing")).status_code == 404
    (actors,) = await world.fetch(
        "SELECT array_agg(actor) AS found FROM audit_entries WHERE subject = $1", alert["id"]
    )
    assert [one.partition(":")[0] for one in actors["found"]] == ["key", "key"]
