"""A keyed POST has its effect once, and is answered the same for ever after."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from starlette.applications import Starlette

from infra.stripe_sandbox.app import make_app
from infra.stripe_sandbox.errors import StripeApiError
from infra.stripe_sandbox.idempotency import Asked, answer_once
from infra.stripe_sandbox.objects import Json, customer
from infra.stripe_sandbox.store import Store
from tests.infra.stripe_sandbox.checked import KEY, Api, error, lines_of, ok
from tests.infra.stripe_sandbox.conftest import StandingClock

_ALL = {"limit": 100}


async def test_the_same_request_is_answered_again_without_a_second_effect(api: Api) -> None:
    draft = await api.invoice_of()
    path = f"/v1/invoices/{draft['id']}/add_lines"
    first = await api.post(path, lines_of(700), key="k")
    again = await api.post(path, lines_of(700), key="k")
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["request-id"] != first.headers["request-id"]
    assert ok(await api.get(f"/v1/invoices/{draft['id']}"))["total"] == 700


async def test_the_order_of_parameters_does_not_matter(api: Api) -> None:
    first = await api.post("/v1/customers", {"name": "a", "phone": "1"}, key="k")
    again = await api.post("/v1/customers", {"phone": "1", "name": "a"}, key="k")
    assert again.content == first.content


async def test_other_parameters_under_the_same_key_are_refused(api: Api) -> None:
    ok(await api.post("/v1/customers", {"name": "a"}, key="k"))
    fault = error(await api.post("/v1/customers", {"name": "b"}, key="k"), 400)
    assert fault["type"] == "idempotency_error"
    assert "same parameters" in fault["message"]
    assert len(ok(await api.get("/v1/customers"))["data"]) == 1


async def test_another_path_under_the_same_key_is_refused(api: Api) -> None:
    one, two = await api.invoice_of(100), await api.invoice_of(100)
    ok(await api.post(f"/v1/invoices/{one['id']}/finalize", key="k"))
    fault = error(await api.post(f"/v1/invoices/{two['id']}/finalize", key="k"), 400)
    assert fault["type"] == "idempotency_error"
    assert "same endpoint" in fault["message"]


async def test_wrong_parameters_use_no_key_up(api: Api) -> None:
    assert error(await api.post("/v1/customers", {"nope": "a"}, key="k"), 400)
    assert ok(await api.post("/v1/customers", {"name": "a"}, key="k"))["name"] == "a"


async def test_a_refusal_by_the_operation_is_kept(api: Api) -> None:
    draft = await api.invoice_of(100)
    refused = await api.post(f"/v1/invoices/{draft['id']}/void", key="k")
    ok(await api.post(f"/v1/invoices/{draft['id']}/finalize"))
    again = await api.post(f"/v1/invoices/{draft['id']}/void", key="k")
    assert (again.status_code, again.content) == (400, refused.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert ok(await api.post(f"/v1/invoices/{draft['id']}/void", key="k2"))["status"] == "void"


async def test_a_refused_operation_leaves_nothing_behind(api: Api) -> None:
    """Paying a draft finalizes it first; where the payment fails, that is undone as well."""
    draft = await api.invoice_of(100)
    error(await api.post(f"/v1/invoices/{draft['id']}/pay", key="k"), 400)
    assert ok(await api.get(f"/v1/invoices/{draft['id']}"))["status"] == "draft"


async def test_a_key_in_use_is_refused_until_its_request_is_answered(
    api: Api, app: Starlette
) -> None:
    let_go, begun = asyncio.Event(), asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        begun.set()
        await let_go.wait()
        yield b"name=slow"

    headers = {
        "Authorization": f"Bearer {KEY}",
        "Idempotency-Key": "k",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sandbox"
    ) as http:
        slow = asyncio.create_task(http.post("/v1/customers", content=slow_body(), headers=headers))
        await begun.wait()
        fault = error(await api.post("/v1/customers", {"name": "slow"}, key="k"), 409)
        assert fault["code"] == "idempotency_key_in_use"
        let_go.set()
        first = await slow
    assert (await api.post("/v1/customers", {"name": "slow"}, key="k")).content == first.content


async def test_many_at_once_with_one_key_have_one_effect(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.post("/v1/customers", {"name": "a"}, key="k") for _ in range(20))
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(ok(await api.get("/v1/customers", _ALL))["data"]) == 1


async def test_a_key_is_forgotten_after_a_day(api: Api, clock: StandingClock) -> None:
    first = ok(await api.post("/v1/customers", {"name": "a"}, key="k"))
    clock.now += 86_399
    assert ok(await api.post("/v1/customers", {"name": "a"}, key="k"))["id"] == first["id"]
    clock.now += 1
    assert ok(await api.post("/v1/customers", {"name": "a"}, key="k"))["id"] != first["id"]


async def test_only_posts_have_keys(api: Api) -> None:
    draft = await api.invoice_of()
    headers = {"Idempotency-Key": "k"}
    ok(await api.http.delete(f"/v1/invoices/{draft['id']}", headers=headers))
    error(await api.http.delete(f"/v1/invoices/{draft['id']}", headers=headers), 404)


async def test_a_key_of_more_than_255_characters_is_refused(api: Api) -> None:
    ok(await api.post("/v1/customers", {}, key="k" * 255))
    error(await api.post("/v1/customers", {}, key="k" * 256), 400)


async def test_answers_are_kept_on_disk(tmp_path: Path) -> None:
    bodies = []
    for _ in range(2):
        transport = httpx.ASGITransport(make_app(tmp_path / "same.sqlite3"))
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://sandbox", headers=headers
        ) as http:
            bodies.append((await Api(http).post("/v1/customers", {"name": "a"}, key="k")).content)
    assert bodies[0] == bodies[1]


def test_a_failure_of_stripes_own_is_kept_too_and_its_effect_undone(tmp_path: Path) -> None:
    store = Store(tmp_path / "stripe.sqlite3")
    asked = Asked("k", "/v1/customers", {"name": "a"}, "req_1", now=1)
    runs: list[Json] = []

    def fail(values: Json) -> Json:
        runs.append(values)
        store.put(customer("cus_1", 1, "PREFIX", values))
        raise StripeApiError(500, "broken", kind="api_error")

    first = answer_once(store, asked, lambda: {"name": "a"}, fail)
    again = answer_once(store, asked, lambda: {"name": "a"}, fail)
    assert (first.status, first.replayed, again.replayed) == (500, False, True)
    assert (again.body, len(runs)) == (first.body, 1)
    assert store.get("customer", "cus_1") is None
    store.close()
