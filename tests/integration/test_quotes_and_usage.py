"""Quotes, comparisons and live usage, by command and over HTTP, on real servers."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from services.invoicer.planning import preview
from services.invoicer.preview_documents import preview_document
from shared.moments import format_moment
from shared.periods import Period
from tests import pricing_facts as page
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.events import Event, encoded, execution, executions, moment
from tests.integration.harness.world import CATALOGUE, World

MODEL = "claude-test"
CALL = "com.example.call"

OWN_METERS = """
  calls:
    {event_type: com.example.call, aggregate: count, dimensions: [key_label]}
  callers:
    {event_type: com.example.call, aggregate: unique_count, property: caller}
  longest_call:
    {event_type: com.example.call, aggregate: max, property: seconds}

plans:
  calls:
    version: 1
    name: Calls
    currency: USD
    charges:
      - {code: calls, model: unit, meter: calls, unit_price: 0.335, free_units: 1,
         discount_percent: 15, maximum_spend: 2.5}
      - {code: callers, model: unit, meter: callers, unit_price: 1.005, minimum_spend: 9.99}
      - {code: base, model: flat, amount: 1.005}
"""
OWN_PRICES = """
models:
  claude-test:
    - {{from: "{start}", currency: USD, input_per_million: 2, output_per_million: 10}}
    - {{from: "{middle}", currency: USD, input_per_million: 4, output_per_million: 20}}
"""


async def ask(world: World, method: str, path: str, **given: Any) -> httpx.Response:
    """Ask the rater with the finance key."""
    headers = {"authorization": f"Bearer {world.finance_key}"}
    return await world.http.request(
        method, f"{world.settings.rater_url}{path}", headers=headers, **given
    )


async def usage(world: World, customer: str, period: object = None) -> Any:
    """Read a customer's month."""
    month = {"period": str(period or world.period)}
    answer = await ask(world, "GET", f"/v1/customers/{customer}/usage", params=month)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def assert_as_previewed(world: World, customer: str, document: Any) -> None:
    """Hold the month's lines against those of the invoice as it would be."""
    async with world.sessions("tallybook_invoicer") as session:
        found = await preview(session, Period.parse(document["period"]), world.settings)
    invoices = preview_document(found)["invoices"]
    (invoice,) = [one for one in invoices if one["customer"] == customer]
    names = ("contract", "charge", "band", "usage_period", "exact_amount", "amount")

    def facts(lines: Any) -> list[tuple[str, ...]]:
        return sorted(tuple(line[name] for name in names) for line in lines)

    assert facts(document["lines"]) == facts(invoice["lines"])
    assert document["amount_due"] == invoice["total"]
    assert document["lines"]


def call(customer: str, number: int, *, day: int, caller: str, seconds: int, world: World) -> Event:
    """Build an event of a type of one's own."""
    return {
        **execution(customer, f"{customer}-call-{number}", time=moment(world.period, days=day)),
        "type": CALL,
        "data": {"caller": caller, "seconds": seconds, "key_label": "desk"},
    }


async def put(world: World, *events: Event) -> None:
    await world.produce(map(encoded, events), partition=0)
    await world.caught_up()


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        meters = CATALOGUE.read_text(encoding="utf-8").partition("\nplans:")[0]
        prices = OWN_PRICES.format(
            start=format_moment(made.period.previous().start),
            middle=format_moment(moment(made.period, days=14)),
        )
        await made.apply_catalogue(meters + OWN_METERS + prices)
        await made.start("rater")
        yield made


async def test_usage_is_there_as_soon_as_its_events_are_rated(world: World) -> None:
    contract = await world.add_customer("live", "byok")
    assert contract is not None
    first = await usage(world, "live")
    assert (first["amount_due"], first["meters"]["executions"]) == ("0.00", "0")

    events = executions("live", 1_200, period=world.period, failed_every=6)
    for event in events[::2]:
        event["data"]["key_label"] = "spare"
    await put(world, *events)
    document = await usage(world, "live")
    assert {name: document["meters"][name] for name in first["meters"] if "_" not in name} == {
        "executions": "1000", "calls": "0", "callers": "0",
    }  # fmt: skip
    assert document["meters"]["input_tokens"] == "1000000"
    assert document["by_model"] == {
        page.MODEL: {
            "executions": "1000",
            "input_tokens": "1000000",
            "output_tokens": "500000",
            "token_cost": "10.50",
        }
    }
    by_key = {key: meters["executions"] for key, meters in document["by_key"].items()}
    assert by_key == {"main": "600", "spare": "400"}
    (line,) = document["lines"]
    assert (line["quantity"], line["unit_price"], line["amount"]) == ("1000", "0.002", "2.00")
    assert line["components"] == {
        "infrastructure": "0.50",
        "security": "0.30",
        "features": "0.70",
        "support": "0.50",
    }
    assert (document["amount_due"], document["token_cost"]) == ("2.00", "10.50")
    assert document["tokens"] == {
        contract.id: {"plan": "byok@1", "paid_by": "customer", "token_cost": "10.50"}
    }
    assert document["as_of"] > first["as_of"]
    ran = await tallybook(world, "usage", "live", "--period", str(world.period), "--json")
    assert {**ran.document, "as_of": ""} == {**document, "as_of": ""}
    await assert_as_previewed(world, "live", document)


async def test_usage_across_a_switch(world: World) -> None:
    await world.add_customer("switched", "byok_pro")
    await put(world, *executions("switched", 1_003, period=world.period))
    at = moment(world.period, days=10, hours=5)
    await world.switch_contract("switched", "standard", at)
    document = await usage(world, "switched")
    assert document["meters"]["executions"] == "1003"
    plans = {line["plan"] for line in document["lines"]}
    assert plans == {"byok_pro@1", "standard@1"}
    assert {one["paid_by"] for one in document["tokens"].values()} == {"customer", "plan"}
    shares = sum(Decimal(one["token_cost"]) for one in document["tokens"].values())
    assert shares == Decimal(document["token_cost"]) == Decimal("10.53")
    assert await world.out_of_balance() == []
    await assert_as_previewed(world, "switched", document)


async def test_usage_of_meters_of_ones_own_across_a_switch(world: World) -> None:
    await world.add_customer("callers", "calls")
    await put(
        world,
        call("callers", 1, day=3, caller="ann", seconds=30, world=world),
        call("callers", 2, day=4, caller="bob", seconds=90, world=world),
        call("callers", 3, day=4, caller="bob", seconds=60, world=world),
        call("callers", 4, day=20, caller="bob", seconds=45, world=world),
        call("callers", 5, day=21, caller="eve", seconds=50, world=world),
    )
    before = await usage(world, "callers")
    assert (before["meters"]["callers"], before["meters"]["longest_call"]) == ("3", "90")
    amounts = [(line["charge"], line["band"], line["amount"]) for line in before["lines"]]
    assert amounts == [
        ("base", "flat", "1.01"),
        ("callers", "minimum spend", "6.98"),
        ("callers", "all", "3.02"),
        ("calls", "free", "0.00"),
        ("calls", "all", "1.34"),
        ("calls", "discount 15 %", "-0.20"),
    ]
    await assert_as_previewed(world, "callers", before)

    await world.switch_contract("callers", "byok", moment(world.period, days=10))
    document = await usage(world, "callers")
    assert document["meters"] == {
        **before["meters"], "calls": "5", "callers": "3", "longest_call": "90",
    }  # fmt: skip
    assert document["by_key"] == {"desk": {"calls": "5"}}
    await assert_as_previewed(world, "callers", document)


async def test_tokens_are_priced_at_their_events_time(world: World) -> None:
    await world.add_customer("tokens", "byok")
    instant = moment(world.period, days=14)
    tokens: dict[str, Any] = {"model": MODEL, "input_tokens": 1_000_000, "output_tokens": 100_000}
    await put(
        world,
        execution("tokens", "t-1", time=moment(world.period, days=1), **tokens),
        execution("tokens", "t-2", time=moment(world.period, days=13, hours=23), **tokens),
        execution("tokens", "t-3", time=instant, **tokens),
        execution("tokens", "t-4", time=moment(world.period, days=20), model="homemade"),
        execution("tokens", "t-5", time=moment(world.period, days=21)),
    )
    document = await usage(world, "tokens")
    # Twice 3.00 at the old price and once 6.00 at the new, and a 1,000 + 500 tokens of another.
    assert document["token_cost"] == "12.01"
    assert document["by_model"][MODEL]["token_cost"] == "12.00"
    assert document["by_model"]["homemade"]["token_cost"] is None
    assert document["unpriced_models"] == ["homemade"]
    assert document["amount_due"] == "0.01"

    compared = await ask(
        world, "POST", "/v1/compare", json={"customer": "tokens", "period": str(world.period)}
    )
    rows = {row["plan"]: row for row in compared.json()["rows"]}
    assert rows["byok"]["token_cost"] == rows["byok_pro"]["token_cost"] == "12.01"
    assert rows["solo"]["token_cost"] == "0.00"
    assert compared.json()["unpriced_models"] == ["homemade"]


async def test_usage_under_a_discount_and_late_usage(world: World) -> None:
    last = world.period.previous()
    await world.add_customer("late", "byok", last.start, page.DISCOUNT)
    await put(world, *executions("late", 7, period=last, prefix="in-time-"))
    closed = await tallybook(world, "periods", "close", str(last), "--json")
    assert (closed.status, closed.document["state"]) == (0, "closed"), closed.err
    await put(
        world,
        *executions("late", 2_503, period=last, prefix="late-"),
        *executions("late", 7, period=world.period),
    )
    document = await usage(world, "late")
    lines = [(line["usage_period"], line["quantity"], line["amount"]) for line in document["lines"]]
    assert lines == [(str(last), "2503", "5.01"), (str(world.period), "7", "0.01")]
    assert document["meters"]["executions"] == "7"
    assert (await usage(world, "late", last))["meters"]["executions"] == "2510"
    for period in (last, world.period):
        await assert_as_previewed(world, "late", await usage(world, "late", period))


async def test_a_customers_real_month_on_every_plan(world: World) -> None:
    await world.add_customer("real", "solo")
    await put(world, *executions("real", 1_000, period=world.period))
    ran = await tallybook(
        world, "compare", "--customer", "real", "--period", str(world.period), "--json"
    )
    expected = {fact.plan: fact for fact in page.FACTS if fact.executions == 1_000}
    rows = {row["plan"]: row for row in ran.document["rows"]}
    assert {plan: row["total"].replace(".", "") for plan, row in rows.items()} == {
        **{plan: str(fact.total_cents) for plan, fact in expected.items()},
        "calls": "1100",
    }
    shipped = ("--catalogue", str(CATALOGUE))
    other = await tallybook(
        world, "compare", "--customer", "real", "--period", str(world.period), *shipped, "--json"
    )
    own = [row for row in ran.document["rows"] if row["plan"] != "calls"]
    assert [row["total"] for row in other.document["rows"]] == [row["total"] for row in own]

    body = {"customer": "real", "period": str(world.period)}
    answer = await ask(world, "POST", "/v1/compare", json=body)
    assert answer.json() == ran.document


@pytest.mark.parametrize("executions", page.EXECUTIONS)
async def test_the_pages_scenarios_by_command_and_over_http(world: World, executions: int) -> None:
    tokens_in, tokens_out = executions * page.INPUT_TOKENS, executions * page.OUTPUT_TOKENS
    ran = await tallybook(
        world,
        *("compare", "--executions", str(executions), "--input-tokens", str(tokens_in)),
        *("--output-tokens", str(tokens_out), "--model", page.MODEL, "--exclude", "calls"),
        "--json",
    )
    body = {
        "executions": str(executions),
        "input_tokens": str(tokens_in),
        "output_tokens": tokens_out,
        "model": page.MODEL,
        "exclude": ["calls"],
    }
    answer = await ask(world, "POST", "/v1/compare", json=body)
    assert answer.json() == ran.document
    totals = {row["plan"]: int(row["total"].replace(".", "")) for row in ran.document["rows"]}
    facts = [fact for fact in page.FACTS if fact.executions == executions]
    assert totals == {fact.plan: fact.total_cents for fact in facts}


async def test_a_quote_by_command_and_over_http(world: World) -> None:
    request = {"plan": "byok", "discount": page.DISCOUNT, "usage": {"executions": "100000"}}
    ran = await tallybook(world, "quote", "--json", given=json.dumps(request))
    answer = await ask(world, "POST", "/v1/quote", json=request)
    assert (ran.status, answer.status_code) == (0, 200)
    assert ran.document == answer.json()
    assert ran.document["total"] == "190.00"

    exact = '{"charges": [{"code": "a", "model": "unit", "unit_price": 0.1}], "usage": {"a": 3.3}}'
    assert (await ask(world, "POST", "/v1/quote", content=exact)).json()["exact_total"] == "0.33"
    lines = "\n".join([json.dumps(request), exact, json.dumps({"plan": "gold"})])
    ran = await tallybook(world, "quote", "--lines", given=lines)
    totals = [json.loads(line).get("total") for line in ran.out.splitlines()]
    assert (ran.status, totals) == (1, ["190.00", "0.33", None])


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "detail"),
    [
        ("quote", b"{", 400, "invalid_json", "no JSON"),
        ("quote", b'{"plan": "gold"}', 422, "invalid_quote", "there is no plan 'gold'"),
        ("quote", b'{"charges": [{"code": "a"}]}', 422, "invalid_quote", "charges[0]"),
        ("quote", b" " * 100_001, 413, "too_large", "100,000 bytes"),
        ("compare", b"x", 400, "invalid_json", "no JSON"),
        ("compare", b"{}", 422, "invalid_comparison", "a month's totals, or a customer"),
        ("compare", b'{"customer": "nobody"}', 404, "not_found", "nobody"),
        ("compare", b'{"executions": 1, "model": "gpt"}', 422, "invalid_comparison", page.MODEL),
        ("compare", b'{"executions": 1, "exclude": ["x"]}', 422, "invalid_comparison", "byok_pro"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    world: World, path: str, body: bytes, status: int, code: str, detail: str
) -> None:
    answer = await ask(world, "POST", f"/v1/{path}", content=body)
    problem = answer.json()
    assert (answer.status_code, problem["type"].rpartition(":")[2]) == (status, code)
    assert detail in problem["detail"]


async def test_only_finance_is_answered(world: World) -> None:
    for method, path in (
        ("POST", "/v1/quote"),
        ("POST", "/v1/compare"),
        ("GET", "/v1/customers/live/usage"),
    ):
        url = f"{world.settings.rater_url}{path}"
        headers = {"authorization": f"Bearer {world.producer_key}"}
        assert (await world.http.request(method, url)).status_code == 401
        assert (await world.http.request(method, url, headers=headers)).status_code == 403


async def test_an_unknown_customer_or_month_is_told(world: World) -> None:
    missing = await ask(world, "GET", "/v1/customers/nobody/usage")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:tallybook:problem:not_found")
    wrong = await ask(world, "GET", "/v1/customers/live/usage", params={"period": "2026-13"})
    assert wrong.status_code == 422
    ran = await tallybook(world, "usage", "nobody")
    assert (ran.status, ran.out) == (1, "")
    assert "there is no customer 'nobody'" in ran.err
    assert (await tallybook(world, "usage", "live", "--period", "2026-13")).status == 2


async def test_the_present_month_is_meant_where_none_is_named(world: World) -> None:
    answer = await ask(world, "GET", "/v1/customers/live/usage")
    assert answer.json()["period"] == answer.json()["as_of"][:7]
    ran = await tallybook(world, "usage", "live")
    assert "live, " in ran.out
    assert "Amount due: 0.00 USD" in ran.out
    table = await tallybook(world, "usage", "live", "--period", str(world.period))
    assert "Tokens, in no amount due: 10.50 USD, paid by the customer" in table.out


async def test_the_interface_is_described(world: World) -> None:
    paths = (await world.http.get(f"{world.settings.rater_url}/openapi.json")).json()["paths"]
    quote = paths["/v1/quote"]["post"]["requestBody"]["content"]["application/json"]
    assert "charges" in quote["schema"]["properties"]
    assert {"/v1/compare", "/v1/customers/{customer_id}/usage"} <= paths.keys()
