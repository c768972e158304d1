"""A second opinion: stripe-mock takes every request of ours, and answers in the sandbox's shapes.

Collected only where Go is there to build it. It remembers nothing, so the sandbox answers, and
stripe-mock is asked about each request on its way.
"""

import inspect
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import stripe

from infra.stripe_sandbox.app import make_app
from infra.stripe_sandbox.operations import OPERATIONS
from services.invoicer import stripe_gateway
from services.invoicer.following.crediting import Crediting, Wanted
from services.invoicer.following.follower import Follower
from services.invoicer.following.voiding import Voiding
from services.invoicer.reconciliation.gather import gather
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import API_VERSION
from services.invoicer.wording import About
from shared.clock import present
from tests.infra.stripe_sandbox.checked import KEY, Api, CheckedStripeHTTP, ok
from tests.infra.stripe_sandbox.whole_life import live_a_whole_life
from tests.integration.harness.processes import ServiceProcess
from tests.integration.harness.second_opinion import STANDING, SecondOpinion
from tests.integration.harness.stripe_mock import (
    VERSION,
    StripeMockError,
    running_stripe_mock,
    stripe_mock_program,
)
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.conftest import sandbox_settings
from tests.services.invoicer.factories import CREATED, draft, posted, token_cost
from tests.services.invoicer.postings import Item, bands
from tests.services.invoicer.sent import HURRIED
from tests.services.invoicer.stripe_side import stripe_side

METADATA = {"billing_key": "acme:2026-10:USD:monthly:1", "payload_sha256": "0" * 64}
LISTS = {
    "GET /v1/customers",
    "GET /v1/invoices",
    "GET /v1/invoices/{id}/lines",
    "GET /v1/credit_notes",
    "GET /v1/events",
}


@pytest.fixture(scope="module")
async def stripe_mock(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    """stripe-mock, running; where Go cannot build it, an error that says why."""
    try:
        program = stripe_mock_program()
    except StripeMockError as error:
        pytest.fail(str(error), pytrace=False)
    async with running_stripe_mock(program, tmp_path_factory.mktemp("stripe-mock")) as process:
        yield process


@pytest.fixture
async def mock_http(stripe_mock: ServiceProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stripe_mock.url, timeout=30) as http:
        yield http


@pytest.fixture
def sandbox(tmp_path: Path) -> httpx.ASGITransport:
    return httpx.ASGITransport(make_app(tmp_path / "stripe.sqlite3", lambda: CREATED))


@pytest.fixture
def opinion(sandbox: httpx.ASGITransport, mock_http: httpx.AsyncClient) -> SecondOpinion:
    return SecondOpinion(sandbox, mock_http)


@pytest.fixture
async def api(sandbox: httpx.ASGITransport) -> AsyncIterator[Api]:
    """A way to the sandbox that stripe-mock is not asked about."""
    async with _client(sandbox) as http:
        yield Api(http)


def _client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {KEY}", "Stripe-Version": API_VERSION}
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers)


# every request ----------------------------------------------------------------------------


async def test_every_operation_of_the_sandbox(opinion: SecondOpinion) -> None:
    http = CheckedStripeHTTP(opinion)
    sdk = stripe.StripeClient(
        KEY,
        base_addresses={"api": "http://sandbox"},
        stripe_version=API_VERSION,
        http_client=http,
    )
    await live_a_whole_life(sdk)
    await http.close_async()
    assert opinion.objections == []
    assert opinion.asked.keys() == {f"{one.method} {one.path}" for one in OPERATIONS}
    assert opinion.stood == STANDING, "an exception that nothing needs any more"


class Noting:
    """Passes calls on to a gateway, and notes what each of its methods was given."""

    def __init__(self, gateway: StripeGateway) -> None:
        self._gateway = gateway
        self.given: set[tuple[str, str]] = set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._gateway, name)

        def noted(*arguments: Any, **named: Any) -> Any:
            bound = inspect.signature(method).bind(*arguments, **named)
            self.given |= {(name, parameter) for parameter in bound.arguments}
            return method(*arguments, **named)

        return noted


def _all_that_can_be_given() -> set[tuple[str, str]]:
    return {
        (name, parameter)
        for name, method in inspect.getmembers(StripeGateway, inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(method).parameters
        if parameter != "self"
    }


async def test_every_call_of_the_gateway_with_each_of_its_parameters(
    opinion: SecondOpinion, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_gateway, "_PAGE", 1)  # so that every list has a second page
    http = CheckedStripeHTTP(opinion)
    async with StripeGateway(sandbox_settings(), http_client=http) as gateway:
        noting = Noting(gateway)
        await _call_everything(cast("StripeGateway", noting), api)
    assert noting.given == _all_that_can_be_given()
    assert opinion.objections == []
    paged = {operation for operation, names in opinion.asked.items() if "starting_after" in names}
    assert paged == LISTS
    assert {"footer", "custom_fields"} <= opinion.asked["POST /v1/invoices"]


async def _call_everything(gateway: StripeGateway, api: Api) -> None:
    email = "acme@example.com"
    await api.customer(email=email)
    customer = await gateway.create_customer(customer_id="acme", name="A", email=email, key="1")
    await gateway.update_customer(customer.id, name="Acme", email=email, key="2")
    assert await gateway.is_customer_there(customer.id)
    assert len([one async for one in gateway.customers_by_email(email)]) == 2

    lines = draft(posted(), posted(band="more", ids=[2])).lines
    wording = draft(about=About("PO-7", "DE123", [token_cost()])).wording
    ids = []
    for name in ("open", "paid", "left"):
        made = await gateway.create_invoice(
            stripe_customer=customer.id,
            currency="USD",
            days_until_due=30,
            metadata=METADATA,
            key=f"create {name}",
            wording=wording,
        )
        await gateway.add_lines(made.id, lines, key=f"lines {name}")
        ids.append(made.id)
    is_open, is_paid, is_left = ids
    await gateway.delete_draft(is_left)
    for one in (is_open, is_paid):
        await gateway.finalize(one, key=f"finalize {one}")
    assert (await gateway.invoice(is_open)).status == "open"
    assert len([one async for one in gateway.invoices_since(1, stripe_customer=customer.id)]) == 2

    ok(await api.post(f"/v1/invoices/{is_paid}/pay", {"paid_out_of_band": True}))
    for one, to_balance in ((is_open, 0), (is_paid, 5)):
        line = (await gateway.lines(one))[1]
        await gateway.create_credit_note(
            one,
            line=line.id,
            amount=5,
            to_balance=to_balance,
            memo="it was down",
            credit="crd_1",
            key=f"credit {one}",
        )
    assert len(await gateway.credit_notes(since=1)) == 2
    assert len(await gateway.credit_notes(stripe_invoice=is_paid)) == 1
    await gateway.void(is_open, key="void")
    assert len(await gateway.events_since(1)) >= 4


async def test_a_months_whole_way_by_the_services(
    world: World, mock_http: httpx.AsyncClient
) -> None:
    """What the services themselves make of line items, renamed and deleted customers, mistakes."""
    await world.apply_catalogue()
    items = {"acme": bands(120), "bob": [Item("10"), Item("5", "other")], "eve": bands(2)}
    await months.fill_month(world, items)
    await months.start(world)
    process = await world.start_stripe()
    opinion = SecondOpinion(httpx.AsyncHTTPTransport(), mock_http)
    engine = world.engine("tallybook_invoicer")
    async with (
        stripe_side(process.url, world.directory / "stripe.sqlite3") as theirs,
        StripeGateway(world.settings, http_client=CheckedStripeHTTP(opinion)) as gateway,
    ):
        assert (await months.send(world, gateway, patience=HURRIED)).state == "done"
        found = await months.invoices(world)
        crediting = Crediting(engine, gateway, present, HURRIED)
        wanted = Wanted(1, Decimal(3), "it was down", "t-1")
        await crediting.credit(found["bob"].id, wanted, actor="ada")

        voiding = Voiding(engine, gateway, present, HURRIED)
        for customer in ("acme", "eve"):
            await voiding.void(found[customer].id, why="wrong name", reissue=True, actor="ada")
        await world.fetch("UPDATE customers SET name = 'Acme, formerly A' WHERE id = 'acme'")
        gone = next(one for one in await theirs.customers() if one["name"] == "Customer eve")
        ok(await theirs.api.http.delete(f"/v1/customers/{gone['id']}"))
        assert (await months.send(world, gateway, patience=HURRIED)).state == "done"

        await Follower(engine, gateway, present, HURRIED).follow_all()
        await gather(world.settings, engine, gateway, world.period)
    assert opinion.objections == []
    assert opinion.asked.keys() >= LISTS | {
        "POST /v1/customers/{id}",
        "GET /v1/customers/{id}",
        "POST /v1/invoices/{id}/add_lines",
        "POST /v1/invoices/{id}/void",
        "POST /v1/credit_notes",
    }


# what it refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "form", "why"),
    [
        ("POST", "/v1/invoices", "month=2026-10", "additional properties"),
        ("POST", "/v1/invoices", "idempotency_key=k", "additional properties"),
        ("POST", "/v1/invoices", "collection_method=maybe", "not in enumeration"),
        ("POST", "/v1/invoices/in_1/add_lines", "", "'lines' is required"),
        ("POST", "/v1/invoices/in_1/add_lines", "lines[0][amount]=1.5", "amount"),
        ("POST", "/v1/invoices/in_1/add_lines", "lines[0][period][start]=1", "'end' is required"),
        ("GET", "/v1/invoices?month=2026-10", "", "additional properties"),
        ("POST", "/v1/invoices/in_1/finalise", "", "Unrecognized request URL"),
    ],
)
async def test_a_wrong_request_is_refused(
    opinion: SecondOpinion, method: str, target: str, form: str, why: str
) -> None:
    """Names that Stripe does not know it finds at the top only: within, the contract test does."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with _client(opinion) as http:
        await http.request(method, target, content=form, headers=headers)
    (objection,) = opinion.objections
    assert why in objection


async def test_another_version_of_the_api_is_refused(opinion: SecondOpinion) -> None:
    async with _client(opinion) as http:
        http.headers["Stripe-Version"] = "2025-01-01.acacia"
        await http.get("/v1/invoices")
        del http.headers["Stripe-Version"]
        await http.get("/v1/invoices")
    wrong, refused, none = opinion.objections
    assert wrong == none == f"GET /v1/invoices does not ask for version {API_VERSION}"
    assert "2025-01-01.acacia" in refused


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"paid": True}, "answers paid, which stripe-mock does not have"),
        ({"total": "1"}, "answers total, of type string, at stripe-mock number"),
        (
            {"status_transitions": {"sent_at": 1}},
            "answers status_transitions.sent_at, which stripe-mock does not have",
        ),
        (
            {"lines": {"data": [{"id": "il_1"}, {"price": "p"}]}},
            "answers lines.data[].price, which stripe-mock does not have",
        ),
        ({"metadata": ["a"]}, "answers metadata, of type array, at stripe-mock object"),
    ],
)
async def test_an_answer_of_another_shape_is_seen(
    mock_http: httpx.AsyncClient, change: dict[str, Any], objection: str
) -> None:
    good = (await mock_http.get("/v1/invoices/in_1", auth=(KEY, ""))).json()
    for answer, objections in (
        (good, []),
        (good | change, [f"GET /v1/invoices/{{id}} {objection}"]),
    ):
        opinion = SecondOpinion(_answering(answer), mock_http)
        async with _client(opinion) as http:
            await http.get("/v1/invoices/in_1")
        assert opinion.objections == objections


def _answering(answer: dict[str, Any]) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _request: httpx.Response(200, json=answer))


# how it is had ----------------------------------------------------------------------------


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program of the test's own in place of go, and the cache where nothing is."""
    monkeypatch.setenv("TALLYBOOK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(script: str) -> None:
        (tmp_path / "go").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "go").chmod(0o755)

    return write


def test_it_is_built_once_and_kept(go: Callable[[str], None], tmp_path: Path) -> None:
    go('echo "$@" > "$GOBIN/stripe-mock"')
    program = stripe_mock_program()
    assert program.read_text() == f"install github.com/stripe/stripe-mock@{VERSION}\n"
    go("exit 1")
    assert stripe_mock_program() == program
    assert list((tmp_path / "cache" / "stripe-mock").iterdir()) == [program]


def test_what_hinders_the_build_is_said(go: Callable[[str], None], tmp_path: Path) -> None:
    go("echo 'no such module' >&2; exit 1")
    with pytest.raises(StripeMockError, match="no such module\nCheck that Go reaches"):
        stripe_mock_program()
    assert list((tmp_path / "cache" / "stripe-mock").iterdir()) == []
