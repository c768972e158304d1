"""What the rater answers over HTTP to input that it cannot use: a problem, never a fault."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.world import World


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.add_customer("acme", None)
        await made.start("rater")
        yield made


async def ask(world: World, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {world.finance_key}"}
    url = f"{world.settings.rater_url}/v1{path}"
    answer = await world.http.request(method, url, json=body, headers=headers)
    document: dict[str, Any] = answer.json()
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert document["status"] == answer.status_code
        assert document["detail"]
    return answer.status_code, document


CONTRACTS = "/customers/acme/contracts"
CUSTOMER = {"id": "new", "name": "New", "email": "new@example.com"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/customers/%00", None, 422),
        ("POST", "/customers", {**CUSTOMER, "name": "a\0b"}, 422),
        ("POST", "/customers", {**CUSTOMER, "name": "a" * 257}, 422),
        ("POST", "/customers", {**CUSTOMER, "email": "@"}, 422),
        ("POST", "/customers", {**CUSTOMER, "currency": "XXX"}, 422),
        ("PATCH", "/customers/nobody", {"name": "Somebody"}, 404),
        ("POST", CONTRACTS, {"plan": "a\0b", "from": "2026-10-01T00:00:00Z"}, 422),
        ("POST", CONTRACTS, {"plan": "byok", "from": "0001-01-01T00:00:00+14:00"}, 422),
        ("POST", CONTRACTS, {"plan": "byok", "from": "9999-12-31T23:59:59-14:00"}, 422),
        ("POST", CONTRACTS, {"plan": "byok", "from": "0206-10-01T00:00:00Z"}, 422),
        ("POST", CONTRACTS, {"plan": "none", "from": "2026-10-01T00:00:00Z"}, 404),
        ("POST", "/events/void", {"source": "s", "reason": "r"}, 422),
        ("POST", "/events/void", {"source": "s", "id": "i", "reason": "r"}, 404),
        ("POST", "/events/void", {"source": "s", "id": "\0", "reason": "r"}, 422),
        ("POST", "/customers/acme/rerate?period=2026-13", None, 422),
        ("GET", "/customers/nobody/rerate", None, 404),
    ],
)
async def test_what_cannot_be_used_is_a_problem(
    world: World, method: str, path: str, body: Any, status: int
) -> None:
    assert (await ask(world, method, path, body))[0] == status


@pytest.mark.parametrize(
    ("overrides", "detail"),
    [
        ({"nothing": {"amount": "1"}}, "the plan has no such charge; it has executions"),
        ({"executions": {"unit_price": "-1"}}, "must be a decimal of 0 or more"),
        ({"executions": {"price": "1"}}, "unknown field `price`"),
        ({"executions": {"model": "package"}}, "missing required field `package_size`"),
        ({}, "must hold codes of charges"),
    ],
)
async def test_overrides_that_cannot_be_used(
    world: World, overrides: dict[str, Any], detail: str
) -> None:
    body = {"plan": "byok", "from": "2026-10-01T00:00:00Z", "overrides": overrides}
    status, problem = await ask(world, "POST", CONTRACTS, body)
    assert status == 422
    assert detail in problem["detail"]
    assert await world.count("contracts") == 0


async def test_a_discount_that_does_not_fit_is_refused(world: World) -> None:
    body = {
        "plan": "byok_pro",
        "from": "2026-10-01T00:00:00Z",
        "discount": "volume-50k",
        "overrides": {
            "executions": {"model": "package", "package_size": "10", "package_price": "1"}
        },
    }
    status, problem = await ask(world, "POST", CONTRACTS, body)
    assert status == 409
    assert "is of model package" in problem["detail"]


async def test_customers_details_can_be_changed(world: World) -> None:
    status, customer = await ask(world, "PATCH", "/customers/acme", {"email": "new@acme.example"})
    assert (status, customer["email"], customer["name"]) == (
        200,
        "new@acme.example",
        "Customer acme",
    )
    (entry,) = await world.fetch(
        "SELECT before, after FROM audit_entries WHERE act = 'customer.update'"
    )
    assert "acme@example.com" in entry["before"]


async def test_a_purchase_order_and_a_tax_id_are_set_kept_and_taken_away(world: World) -> None:
    new = {"id": "ref", "name": "Ref", "email": "ref@example.com", "purchase_order": " PO-7 "}
    status, customer = await ask(world, "POST", "/customers", new)
    assert (status, customer["purchase_order"], customer["tax_id"]) == (201, "PO-7", None)
    assert (await ask(world, "POST", "/customers", new))[0] == 201
    assert (await ask(world, "POST", "/customers", {**new, "tax_id": "DE1"}))[0] == 409
    for change, kept in (
        ({"tax_id": "DE1"}, ("PO-7", "DE1")),
        ({"name": "Ref & Co"}, ("PO-7", "DE1")),
        ({"purchase_order": ""}, (None, "DE1")),
    ):
        status, customer = await ask(world, "PATCH", "/customers/ref", change)
        assert (status, customer["purchase_order"], customer["tax_id"]) == (200, *kept)
    for wrong in ("x" * 141, "two\nlines"):
        status, problem = await ask(world, "PATCH", "/customers/ref", {"tax_id": wrong})
        assert (status, problem["detail"]) == (
            422,
            "a customer's tax id has at most 140 printable characters",
        )


async def test_an_override_is_what_is_charged(world: World) -> None:
    await world.add_customer("special", None)
    body = {
        "plan": "byok_pro",
        "from": f"{world.period}-01T00:00:00Z",
        "overrides": {"subscription": {"amount": "5"}},
    }
    status, contract = await ask(world, "POST", "/customers/special/contracts", body)
    assert status == 201
    assert contract["overrides"][0]["amount"] == "5"
    await world.caught_up()
    rows = await world.fetch(
        "SELECT amount FROM line_items WHERE customer_id = 'special' AND usage_period = $1",
        str(world.period),
    )
    assert [row["amount"] for row in rows] == [5]
