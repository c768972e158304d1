"""Faults come when they were asked for, and as they were asked for."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.infra.stripe_sandbox.checked import Api, error, ok
from tests.infra.stripe_sandbox.conftest import StandingClock
from tests.infra.stripe_sandbox.test_process import running_sandbox


async def _ask(api: Api, control: str, **body: Any) -> dict[str, Any]:
    return ok(await api.http.post(f"/_sandbox/{control}", json=body))


async def _customers(api: Api) -> int:
    counts = (await api.http.get("/_sandbox/state")).json()["objects"]
    return int(counts["customer"].get("active", 0))


async def test_an_error_before_the_effect_leaves_nothing(api: Api) -> None:
    await _ask(api, "faults", method="POST", path="/v1/customers", kind="error_before", times=2)
    for _ in range(2):
        assert error(await api.post("/v1/customers"), 500)["type"] == "api_error"
    assert await _customers(api) == 0
    ok(await api.post("/v1/customers"))


async def test_an_error_after_the_effect_is_repeated_for_its_key(api: Api) -> None:
    await _ask(api, "faults", path="/v1/customers", kind="error_after")
    for _ in range(2):
        error(await api.post("/v1/customers", {"name": "a"}, key="k"), 500)
    assert await _customers(api) == 1
    await api.http.post("/_sandbox/forget_keys")
    ok(await api.post("/v1/customers", {"name": "a"}, key="k"))
    assert await _customers(api) == 2


async def test_a_fault_waits_for_the_call_that_is_meant(api: Api) -> None:
    await _ask(api, "faults", path="/v1/invoices/*/finalize", kind="rate_limited", retry_after=3)
    made = await api.invoice_of(100)
    answer = await api.post(f"/v1/invoices/{made['id']}/finalize")
    assert error(answer, 429)["code"] == "rate_limit"
    assert (answer.headers["retry-after"], answer.headers["stripe-should-retry"]) == ("3", "true")
    ok(await api.post(f"/v1/invoices/{made['id']}/finalize"))


async def test_some_calls_are_let_through_first_and_faults_can_be_dropped(api: Api) -> None:
    await _ask(api, "faults", path="/v1/customers", kind="locked", skip=1, times=9)
    ok(await api.post("/v1/customers"))
    assert error(await api.post("/v1/customers"), 429)["code"] == "lock_timeout"
    await api.http.delete("/_sandbox/faults")
    ok(await api.post("/v1/customers"))


async def test_calls_beyond_a_limit_are_refused(api: Api) -> None:
    await _ask(api, "limit", per_second=3)
    answers = [await api.post("/v1/customers") for _ in range(40)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused
    assert len(answers) - len(refused) == await _customers(api)
    await _ask(api, "limit", per_second=0)
    ok(await api.post("/v1/customers"))


async def test_keys_are_forgotten_after_a_day_of_its_clock(api: Api, clock: StandingClock) -> None:
    ok(await api.post("/v1/customers", {"name": "a"}, key="k"))
    assert (await _ask(api, "clock", seconds=86_401))["now"] == clock.now + 86_401
    made = ok(await api.post("/v1/customers", {"name": "a"}, key="k"))
    assert (made["created"], await _customers(api)) == (clock.now + 86_401, 2)


async def test_the_clock_is_set_to_a_moment_that_is_to_come(api: Api, clock: StandingClock) -> None:
    later = clock.now + 86_401
    ok(await api.post("/v1/customers", {"name": "a"}, key="k"))
    assert (await _ask(api, "clock", now=later))["now"] == later
    assert (await _ask(api, "clock", now=later))["now"] == later
    assert ok(await api.post("/v1/customers", {"name": "a"}, key="k"))["created"] == later
    written = datetime.fromtimestamp(later + 60, timezone(timedelta(hours=-3))).isoformat()
    assert (await _ask(api, "clock", now=written))["now"] == later + 60
    clock.now += 5
    assert (await api.http.get("/_sandbox/state")).json()["now"] == later + 65


@pytest.mark.parametrize("back", [{"seconds": -1}, {"now": 1_790_000_000 - 1}, {"now": 0}])
async def test_the_clock_does_not_go_back(api: Api, back: dict[str, int]) -> None:
    answer = await api.http.post("/_sandbox/clock", json=back)
    assert answer.status_code == 400
    assert "time does not go back" in answer.json()["error"]
    assert (await api.http.get("/_sandbox/state")).json()["now"] == 1_790_000_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {}),
        ("clock", {"seconds": 1, "now": 1_800_000_000}),
        ("clock", {"now": "2026-12-01T00:00:00"}),
        ("clock", {"now": 10**18}),
        ("faults", {"kind": "odd"}),
        ("faults", {"x": 1}),
        ("limit", {}),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_reason(
    api: Api, path: str, body: dict[str, Any]
) -> None:
    answer = await api.http.post(f"/_sandbox/{path}", json=body)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_a_lost_answer_has_had_its_effect_and_the_clock_outlives_the_process(
    tmp_path: Path,
) -> None:
    data = tmp_path / "stripe.sqlite3"
    with running_sandbox(data) as (_, http):
        http.post("/_sandbox/faults", json={"path": "/v1/customers", "kind": "lost"})
        with pytest.raises(httpx.TransportError):
            http.post("/v1/customers", content="name=Ada")
        state = http.get("/_sandbox/state").json()
        assert state["objects"]["customer"] == {"active": 1}
        now = http.post("/_sandbox/clock", json={"seconds": 10_000}).json()["now"]
    with running_sandbox(data) as (_, http):
        assert http.get("/_sandbox/state").json()["now"] >= now
