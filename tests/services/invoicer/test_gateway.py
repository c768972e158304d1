"""What the gateway sends is as Stripe's OpenAPI document says, and what comes back is judged.

The sandbox answers in this process; each exchange is checked against the document on the way.
"""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from services.invoicer.building import Draft
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import Retry, StripeFault, StripeInvoice
from services.invoicer.verifying import complaints
from services.invoicer.wording import About, Wording
from tests.infra.stripe_sandbox.checked import Api, CheckedStripeHTTP, CheckedTransport, ok
from tests.services.invoicer.conftest import sandbox_settings
from tests.services.invoicer.factories import CREATED, draft, frozen, posted, token_cost

METADATA = {"billing_key": "acme:2026-10:USD:monthly:1", "payload_sha256": "0" * 64}
MANY = draft(*(posted(band=f"{n} to {n + 1}", ids=[n]) for n in range(150)))


async def make_draft(gateway: StripeGateway, key: str = "invoice-1") -> StripeInvoice:
    customer = await gateway.create_customer(
        customer_id="acme", name="Acme", email="acme@example.com", key="customer-1"
    )
    return await gateway.create_invoice(
        stripe_customer=customer.id, currency="USD", days_until_due=30, metadata=METADATA, key=key
    )


async def test_an_invoices_whole_way(gateway: StripeGateway, wire: CheckedTransport) -> None:
    made = await make_draft(gateway)
    assert (made.status, made.billing_key, made.total) == ("draft", METADATA["billing_key"], 0)
    await gateway.add_lines(made.id, MANY.lines[:100], key="lines-1")
    added = await gateway.add_lines(made.id, MANY.lines[100:], key="lines-2")
    assert added.total == MANY.total_minor
    final = await gateway.finalize(made.id, key="finalize-1")
    assert (final.status, final.total) == ("open", MANY.total_minor)
    assert {status for _, _, status in wire.exchanges} == {200}


async def test_what_was_sent_is_read_back_equal(gateway: StripeGateway) -> None:
    made = await make_draft(gateway)
    await gateway.add_lines(made.id, MANY.lines[:100], key="lines-1")
    await gateway.add_lines(made.id, MANY.lines[100:], key="lines-2")
    read, lines = await gateway.invoice(made.id), await gateway.lines(made.id)
    assert read.lines.has_more
    assert len(lines) == 150
    wrong = complaints(frozen(MANY, made.customer or ""), read, lines)
    assert wrong == [f"the hash of the payload at Stripe is {'0' * 64}, ours is {_hash(MANY)}"]


def _hash(of: Draft) -> str:
    return frozen(of).payload_sha256


async def test_a_draft_inherits_nothing_that_could_change_an_amount(
    gateway: StripeGateway, api: Api
) -> None:
    made = await make_draft(gateway)
    held = ok(await api.get(f"/v1/invoices/{made.id}"))
    assert held["auto_advance"] is False
    assert held["automatic_tax"]["enabled"] is False
    assert held["discounts"] == []
    assert held["collection_method"] == "send_invoice"
    assert held["due_date"] == held["created"] + 30 * 86_400
    await gateway.add_lines(made.id, MANY.lines[:1], key="lines-1")
    (line,) = ok(await api.get(f"/v1/invoices/{made.id}/lines"))["data"]
    assert line["discountable"] is False


async def test_the_same_key_makes_nothing_twice(gateway: StripeGateway, api: Api) -> None:
    """The key goes where Stripe looks for it: as a form field it would be refused here."""
    one, again = await make_draft(gateway), await make_draft(gateway)
    assert one.id == again.id
    other = await make_draft(gateway, key="invoice-2")
    assert other.id != one.id
    state = (await api.http.get("/_sandbox/state")).json()
    assert state["objects"]["customer"] == {"active": 1}


async def test_customers_are_found_by_their_address_over_many_pages(
    gateway: StripeGateway, api: Api
) -> None:
    for number in range(120):
        await api.customer(name=f"other {number}")
    made = await gateway.create_customer(
        customer_id="acme", name="Acme", email="ada@example.com", key="k"
    )
    found = [one async for one in gateway.customers_by_email("ada@example.com")]
    assert len(found) == 121
    assert [one.id for one in found if one.customer_id == "acme"] == [made.id]


async def test_invoices_are_listed_over_many_pages_and_by_customer(
    gateway: StripeGateway, api: Api
) -> None:
    mine = await make_draft(gateway)
    owner = (await api.customer())["id"]
    for _ in range(105):
        await api.draft(owner)
    assert len([one async for one in gateway.invoices_since(CREATED)]) == 106
    listed = gateway.invoices_since(CREATED, stripe_customer=mine.customer)
    assert [one.id async for one in listed] == [mine.id]
    assert [one async for one in gateway.invoices_since(CREATED + 1)] == []


async def test_an_invoice_that_is_not_ours_can_be_read(gateway: StripeGateway, api: Api) -> None:
    theirs = await api.invoice_of(100, 200)
    read = await gateway.invoice(theirs["id"])
    assert (read.billing_key, read.subtotal) == (None, 300)
    assert [line.position for line in read.lines.data] == [None, None]


async def test_a_draft_is_deleted_and_a_finalized_invoice_is_not(gateway: StripeGateway) -> None:
    made = await make_draft(gateway)
    await gateway.delete_draft(made.id)
    with pytest.raises(StripeFault) as gone:
        await gateway.invoice(made.id)
    assert (gone.value.missing, gone.value.retry) == (True, "never")

    other = await make_draft(gateway, key="invoice-2")
    await gateway.add_lines(other.id, MANY.lines[:1], key="lines-2")
    await gateway.finalize(other.id, key="finalize-2")
    with pytest.raises(StripeFault) as refused:
        await gateway.delete_draft(other.id)
    assert (refused.value.missing, refused.value.retry) == (False, "never")
    assert refused.value.answered


async def test_a_key_used_for_something_else_is_never_tried_again(gateway: StripeGateway) -> None:
    made = await make_draft(gateway)
    with pytest.raises(StripeFault) as refused:
        await gateway.finalize(made.id, key="invoice-1")
    assert refused.value.retry == "never"


class Answering(httpx.AsyncBaseTransport):
    """Gives one answer to everything."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answer = (status, {"content-type": "application/json", **named}, body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, headers, body = self._answer
        return httpx.Response(status, headers=headers, content=body)


def _error(kind: str) -> bytes:
    return msgspec.json.encode({"error": {"type": kind, "message": "It is so."}})


async def _fault(transport: httpx.AsyncBaseTransport) -> StripeFault:
    http = CheckedStripeHTTP(CheckedTransport(transport, requests=True))
    async with StripeGateway(sandbox_settings(), http_client=http) as gateway:
        with pytest.raises(StripeFault) as raised:
            await gateway.finalize("in_1", key="k")
    return raised.value


@pytest.mark.parametrize(
    ("answer", "retry", "answered", "retry_after"),
    [
        (Answering(429, _error("invalid_request_error"), retry_after="3"), "soon", False, 3),
        (Answering(429, _error("invalid_request_error")), "soon", False, None),
        (Answering(409, _error("idempotency_error")), "soon", False, None),
        (Answering(500, _error("api_error")), "soon", True, None),
        (Answering(503, _error("api_error"), stripe_should_retry="true"), "soon", True, None),
        (Answering(500, _error("api_error"), stripe_should_retry="false"), "later", True, None),
        (Answering(400, _error("invalid_request_error")), "never", True, None),
        (Answering(402, _error("card_error")), "never", True, None),
        (Answering(401, _error("invalid_request_error")), "later", False, None),
        (Answering(403, _error("invalid_request_error")), "later", False, None),
        (Answering(200, b"<html>", content_type="text/html"), "soon", False, None),
    ],
)
async def test_an_error_is_judged(
    answer: Answering, retry: Retry, answered: bool, retry_after: float | None
) -> None:
    fault = await _fault(answer)
    assert (fault.retry, fault.answered, fault.retry_after) == (retry, answered, retry_after)


async def test_an_answer_without_what_we_need_is_never_taken_for_good() -> None:
    fault = await _fault(Answering(200, b'{"id": "in_1"}', content_type="text/plain"))
    assert fault.retry == "never"
    assert "not as expected" in str(fault)


async def test_words_are_held_at_stripe_as_they_were_sent(gateway: StripeGateway) -> None:
    owner = await gateway.create_customer(customer_id="a", name="A", email="a@example.com", key="1")
    wording = draft(about=About("PO-7", "DE123", [token_cost()])).wording
    made = await gateway.create_invoice(
        stripe_customer=owner.id,
        currency="USD",
        days_until_due=30,
        metadata={},
        key="2",
        wording=wording,
    )
    held = await gateway.invoice(made.id)
    assert Wording(held.fields, held.footer) == wording


@pytest.fixture
async def nowhere() -> AsyncIterator[StripeGateway]:
    """A gateway to a port on which nothing listens, over the SDK's own HTTP client."""
    settings = sandbox_settings().model_copy(update={"stripe_api_base": "http://127.0.0.1:9"})
    async with StripeGateway(settings) as gateway:
        yield gateway


async def test_no_connection_is_worth_another_try(nowhere: StripeGateway) -> None:
    with pytest.raises(StripeFault) as raised:
        await nowhere.invoice("in_1")
    assert (raised.value.retry, raised.value.answered) == ("soon", False)


async def test_a_refused_api_key_is_named_by_its_setting_and_never_shown(
    wire: CheckedTransport,
) -> None:
    settings = sandbox_settings("sk_live_do_not_show")
    async with StripeGateway(settings, http_client=CheckedStripeHTTP(wire)) as gateway:
        with pytest.raises(StripeFault) as raised:
            await gateway.invoice("in_1")
    assert "TALLYBOOK_STRIPE_API_KEY" in str(raised.value)
    assert "do_not_show" not in str(raised.value)
    assert raised.value.retry == "later"


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ("Having the 'rak_invoice_write' permission would", "; it lacks rak_invoice_write"),
        (
            "Having the 'rak_a_read', 'rak_b_read' permissions would",
            "; it lacks rak_a_read or rak_b_read",
        ),
        ("Ask the owner of the account: nothing else would", ""),
    ],
)
async def test_a_right_that_the_key_lacks_is_named_and_nothing_of_the_key(
    said: str, lacks: str
) -> None:
    message = (
        "The provided key 'rk_test_*****shown1' does not have the required permissions for this"
        f" endpoint on account 'acct_1'. {said} allow this request to continue."
    )
    fault = await _fault(
        Answering(403, _error("invalid_request_error").replace(b"It is so.", message.encode()))
    )
    assert str(fault) == (
        f"Stripe does not let the API key, TALLYBOOK_STRIPE_API_KEY, do this{lacks}"
    )
    assert (fault.retry, fault.reach) == ("later", "account")


async def test_an_answer_of_another_version_is_refused_before_anything_is_changed() -> None:
    answer = Answering(200, b"{}", content_type="text/plain", stripe_version="2031-01-01.fern")
    fault = await _fault(answer)
    assert (fault.reach, fault.retry) == ("account", "later")
    assert "2031-01-01.fern" in str(fault)


async def test_a_version_that_stripe_does_not_know_is_everybodys_fault() -> None:
    body = _error("invalid_request_error").replace(
        b"It is so.", b"Invalid Stripe API version: 2026-08-26.dahlia"
    )
    fault = await _fault(Answering(400, body))
    assert (fault.reach, "does not know version" in str(fault)) == ("account", True)


@pytest.mark.parametrize(
    ("status", "reach"), [(500, "stripe"), (429, "stripe"), (400, "call"), (401, "account")]
)
async def test_whose_fault_an_error_is(status: int, reach: str) -> None:
    assert (await _fault(Answering(status, _error("api_error")))).reach == reach


async def test_calls_are_held_to_the_limits_that_are_set(wire: CheckedTransport) -> None:
    settings = sandbox_settings().model_copy(update={"stripe_endpoint_calls_per_second": 50.0})
    http = CheckedStripeHTTP(wire)
    slept: list[float] = []
    async with StripeGateway(settings, http_client=http) as gateway:
        gateway.pace.sleep = lambda seconds: _note(slept, seconds)
        for _ in range(6):
            assert [one async for one in gateway.customers_by_email("nobody@example.com")] == []
    assert slept
    assert all(0 < seconds < 1 for seconds in slept)


async def _note(slept: list[float], seconds: float) -> None:
    slept.append(seconds)
