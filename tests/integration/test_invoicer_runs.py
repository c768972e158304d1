"""A month from events to invoices, over the HTTP interface of the invoicer as a process."""

import hashlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from shared.money import from_minor, round_to_minor
from tests.integration.conftest import OpenWorld
from tests.integration.harness import traffic
from tests.integration.harness.waiting import until
from tests.integration.harness.world import World

STRIPE = "/v1/stripe/webhooks"
TOTALS = {"ada": "2.70", "ben": "19.90", "cyd": "5.58"}


class Invoicer:
    """The invoicer's HTTP interface, asked with the finance key."""

    def __init__(self, http: httpx.AsyncClient, world: World) -> None:
        self.http = http
        self.period = str(world.period)
        self.run = f"run_{world.period}"

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.http.request(method, f"/v1{path}", **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def sent(self, *states: str) -> Any:
        """Send the run and wait until it has ended."""
        await self.ask("POST", f"/runs/{self.run}/send", 202)
        run: Any = None

        async def ended() -> bool:
            nonlocal run
            run = await self.ask("GET", f"/runs/{self.run}")
            return bool(run["state"] != "sending")

        await until(ended)
        assert run["state"] in states, run
        return run


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await traffic.settle(made)
        await made.start("rater")
        await traffic.put_on_log(made)
        await made.caught_up()
        await made.start("invoicer")
        yield made


@pytest.fixture(scope="module")
async def invoicer(world: World) -> AsyncIterator[Invoicer]:
    headers = {"Authorization": f"Bearer {world.finance_key}"}
    url = world.settings.invoicer_url
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        yield Invoicer(http, world)


async def test_a_preview_before_the_close_shows_what_would_be_invoiced(invoicer: Invoicer) -> None:
    preview = await invoicer.ask("GET", f"/periods/{invoicer.period}/preview")
    assert (preview["closed"], preview["totals"]) == (False, {"USD": "28.18"})
    assert {one["customer"]: one["total"] for one in preview["invoices"]} == TOTALS
    assert preview["unpriced_events"] == traffic.COUNTS["unknown"]
    (ben,) = [one for one in preview["invoices"] if one["customer"] == "ben"]
    assert ben["warnings"] == ["first_invoice"]
    assert [(one["charge"], one["quantity"], one["amount"]) for one in ben["lines"]] == [
        ("subscription", "1", "19.00"),
        ("executions", "900", "0.90"),
    ]
    assert await invoicer.ask("GET", "/invoices") == {"invoices": []}


async def test_the_whole_way(invoicer: Invoicer, world: World) -> None:
    closed = await invoicer.ask("POST", f"/periods/{invoicer.period}/close")
    assert closed["state"] == "closed"
    periods = (await invoicer.ask("GET", "/periods"))["periods"]
    assert [one["period"] for one in periods] == [invoicer.period]

    started = await invoicer.ask("POST", "/runs", 201, json={"period": invoicer.period})
    assert (started["state"], started["states"]) == ("planned", {"frozen": 3})
    again = await invoicer.ask("POST", "/runs", 201, json={"period": invoicer.period})
    assert again == started

    run = await invoicer.sent("done")
    assert run["states"] == {"finalized": 3}
    assert {one["customer"]: one["total"] for one in run["invoices"]} == TOTALS
    assert {one["last_error"] for one in run["invoices"]} == {None}
    listed = (await invoicer.ask("GET", f"/invoices?period={invoicer.period}"))["invoices"]
    assert listed == run["invoices"]
    for one in listed:
        whole = await invoicer.ask("GET", f"/invoices/{one['id']}")
        assert {name: whole[name] for name in one} == one
        linked = await world.fetch(
            "SELECT sum(i.amount) AS amount FROM line_items i JOIN invoice_line_items l"
            " ON l.line_item_id = i.id WHERE l.invoice_id = $1",
            one["id"],
        )
        exact = sum(Decimal(line["exact_amount"]) for line in whole["lines"])
        assert linked[0]["amount"] == exact


async def test_tokens_that_are_paid_directly_stand_on_the_invoice_and_in_no_amount(
    invoicer: Invoicer, world: World
) -> None:
    """What they cost is what the rater says too, and only on plans that leave them to pay."""
    for one in (await invoicer.ask("GET", f"/invoices?period={invoicer.period}"))["invoices"]:
        whole = await invoicer.ask("GET", f"/invoices/{one['id']}")
        usage = await world.http.get(
            f"{world.settings.rater_url}/v1/customers/{one['customer']}/usage",
            params={"period": invoicer.period},
            headers={"Authorization": f"Bearer {world.finance_key}"},
        )
        costs = [Decimal(cost["cost"]) for cost in whole["paid_to_anthropic"]]
        if one["customer"] == "cyd":
            assert (costs, whole["footer"]) == ([], None)
        else:
            minor = round_to_minor(sum(costs, Decimal(0)), "USD")
            assert from_minor(minor, "USD") == Decimal(usage.json()["token_cost"]) > 0
            assert whole["footer"].startswith("Paid directly to Anthropic")
        assert one["total"] == TOTALS[one["customer"]]


async def test_the_detail_file_is_told_as_json_and_as_csv(invoicer: Invoicer) -> None:
    listed = (await invoicer.ask("GET", f"/invoices?period={invoicer.period}"))["invoices"]
    (ben,) = [one for one in listed if one["customer"] == "ben"]
    path = f"/invoices/{ben['id']}/detail"
    document = await invoicer.ask("GET", path)
    assert [(row["charge"], row["exact_amount"]) for row in document["rows"]] == [
        ("subscription", "19"),
        ("executions", "0.9"),
    ]
    file = await invoicer.http.get(f"/v1{path}", headers={"Accept": "text/csv"})
    assert file.headers["content-type"].startswith("text/csv")
    assert hashlib.sha256(file.content).hexdigest() == document["sha256"]
    assert (await invoicer.ask("GET", "/invoices/inv_none/detail", 404))["status"] == 404


async def test_sending_again_makes_nothing_twice(invoicer: Invoicer, world: World) -> None:
    stripe = world.settings.stripe_api_base
    before = (await world.http.get(f"{stripe}/_sandbox/state")).json()["objects"]
    await invoicer.sent("done")
    assert (await world.http.get(f"{stripe}/_sandbox/state")).json()["objects"] == before
    assert before["invoice"] == {"open": 3}


async def test_a_clean_reconciliation_as_json_and_as_a_page(
    invoicer: Invoicer, world: World
) -> None:
    path = f"/v1/periods/{invoicer.period}/reconciliation"
    answer = await invoicer.http.get(path)
    assert answer.headers["tallybook-clean"] == "true"
    document = answer.json()
    assert document["clean"]
    assert {one["class"] for one in document["differences"]} == {
        "duplicate",
        "conflict",
        "unpriced",
        "not_billable",
    }
    assert document["stages"][-2] == {
        "from": "invoices (USD)",
        "to": "Stripe",
        "count_from": "3",
        "count_to": "3",
        "amount_from": "28.18",
        "amount_to": "28.18",
    }
    page = await invoicer.http.get(path, headers={"Accept": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["tallybook-clean"] == "true"
    assert f"Reconciliation of {invoicer.period}" in page.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/runs/run_1999-01", 404, "not_found"),
        ("POST", "/runs/run_1999-01/send", 404, "not_found"),
        ("GET", "/invoices/inv_none", 404, "not_found"),
        ("GET", "/invoices?period=2026-13", 422, "invalid_period"),
        ("GET", "/periods/soon/preview", 422, "invalid_period"),
        ("POST", "/periods/9000-01/close", 409, "conflicting_state"),
        ("GET", "/nothing", 404, "http_error"),
    ],
)
async def test_problems_are_told_as_such(
    invoicer: Invoicer, method: str, path: str, status: int, code: str
) -> None:
    answer = await invoicer.http.request(method, f"/v1{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(f":{code}")


@pytest.mark.parametrize("body", [{}, {"period": 5}, {"period": "2026-10", "force": True}])
async def test_a_wrong_body_starts_nothing(invoicer: Invoicer, body: dict[str, Any]) -> None:
    answer = await invoicer.http.post("/v1/runs", json=body)
    assert (answer.status_code, answer.json()["type"][-14:]) == (422, ":invalid_input")


async def test_every_route_asks_for_the_scope_finance(invoicer: Invoicer, world: World) -> None:
    """Tried on every route that the service says it has, but Stripe's own: that one is signed."""
    document = (await invoicer.http.get("/openapi.json")).json()
    routes = [
        (method, path.replace("{", "").replace("}", ""))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/") and path != STRIPE
    ]
    assert len(routes) >= 10
    for method, path in routes:
        for key, status in (("tbk_unknown", 401), (world.producer_key, 403)):
            headers = {"Authorization": f"Bearer {key}"}
            answer = await invoicer.http.request(method, path, headers=headers)
            assert answer.status_code == status, (method, path)


async def test_the_interface_is_described_with_types(invoicer: Invoicer) -> None:
    document = (await invoicer.http.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/") or path == STRIPE:
            continue
        for operation in methods.values():
            good = min(operation["responses"])
            assert operation["summary"]
            content = operation["responses"][good]["content"]
            if path == "/v1/exports/{kind}":
                assert "application/vnd.apache.parquet" in content
            else:
                schema = content["application/json"]["schema"]
                assert schema["$ref"].startswith("#/components/schemas/"), path
