"""The real SDK's requests and the sandbox's answers are as Stripe's OpenAPI document says."""

import re
from typing import Any

import pytest
import stripe

from infra.stripe_sandbox import API_VERSION
from infra.stripe_sandbox.operations import OPERATIONS
from tests.infra.stripe_sandbox.checked import Api, CheckedTransport, error
from tests.infra.stripe_sandbox.openapi import ContractError, StripeContract
from tests.infra.stripe_sandbox.whole_life import live_a_whole_life


def test_the_document_is_of_the_version_that_the_sandbox_answers(contract: StripeContract) -> None:
    assert contract.document["info"]["version"] == API_VERSION


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: str(one.name))
def test_every_parameter_taken_is_one_of_stripes(operation: Any, contract: StripeContract) -> None:
    path = operation.path.replace("{id}", "x_1")
    for name in operation.fields:
        assert not _is_stranger(contract, operation.method, path, name)
        assert _is_stranger(contract, operation.method, path, f"{name}x")


def _is_stranger(contract: StripeContract, method: str, path: str, name: str) -> bool:
    """Tell whether Stripe's document has no such parameter, whatever its value must be."""
    try:
        contract.check_request(method, path, f"{name}=1")
    except ContractError as error:
        return any("unexpected" in fault for fault in error.faults)
    return False


async def test_an_invoices_whole_life_through_the_real_sdk(
    sdk: stripe.StripeClient, wire: CheckedTransport
) -> None:
    await live_a_whole_life(sdk)
    asked = {(method, _template(path)) for method, path, _ in wire.exchanges}
    assert asked == {(one.method, one.path) for one in OPERATIONS}


def _template(path: str) -> str:
    return re.sub(r"/(cus|in|cn|evt|we)_[^/]+", "/{id}", path)


async def test_the_sdk_knows_the_errors_by_their_kind(sdk: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await sdk.v1.invoices.retrieve_async("in_nowhere")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")

    await sdk.v1.customers.create_async({"name": "a"}, {"idempotency_key": "one"})
    with pytest.raises(stripe.IdempotencyError):
        await sdk.v1.customers.create_async({"name": "b"}, {"idempotency_key": "one"})


async def test_error_answers_are_in_stripes_shape(api: Api) -> None:
    """The transport checks each answer; here are the kinds of errors."""
    draft = await api.invoice_of(100)
    error(await api.post("/v1/invoices", {"nope": 1}), 400)
    error(await api.post("/v1/invoices/in_nowhere/finalize"), 404)
    error(
        await api.post(f"/v1/invoices/{draft['id']}/add_lines", {"lines": [{"amount": "1.5"}]}), 400
    )
    error(await api.http.get("/v1/invoices", headers={"Authorization": ""}), 401)


@pytest.mark.parametrize(
    ("method", "path", "form", "fault"),
    [
        ("POST", "/v1/invoices", "idempotency_key=k", "idempotency_key"),
        ("POST", "/v1/invoices/in_1/add_lines", "lines[0][amount]=1.5", "lines.0.amount"),
        ("POST", "/v1/invoices/in_1/add_lines", "lines[0][total]=1", "lines.0.total"),
        ("POST", "/v1/invoices/in_1/add_lines", "", "'lines' is a required property"),
        ("POST", "/v1/invoices", "collection_method=maybe", "collection_method"),
        ("GET", "/v1/invoices", "created[from]=1", "created.from"),
        ("GET", "/v1/invoices", "month=10", "month"),
        ("POST", "/v1/invoices/in_1/finalise", "", "no such operation"),
    ],
)
def test_a_wrong_request_fails(
    contract: StripeContract, method: str, path: str, form: str, fault: str
) -> None:
    with pytest.raises(ContractError, match=fault):
        contract.check_request(method, path, form)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"subtotal": None}, "subtotal"),
        ({"subtotal": 1.5}, "subtotal"),
        ({"status": "finished"}, "status"),
        ({"paid": True}, "'paid' is not in Stripe's schema"),
        ({"status_transitions": {"sent_at": 1}}, "sent_at"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
async def test_a_wrong_answer_fails(
    contract: StripeContract, api: Api, change: dict[str, Any], fault: str
) -> None:
    good = await api.invoice_of(100)
    contract.check_answer("POST", "/v1/invoices", 200, good)
    with pytest.raises(ContractError, match=fault):
        contract.check_answer("POST", "/v1/invoices", 200, good | change)


async def test_a_wrong_line_or_a_missing_field_fails(contract: StripeContract, api: Api) -> None:
    good = await api.invoice_of(100)
    path = f"/v1/invoices/{good['id']}/lines"
    page = good["lines"]
    contract.check_answer("GET", path, 200, page)
    with pytest.raises(ContractError, match=r"data\.0\.price"):
        contract.check_answer("GET", path, 200, page | {"data": [page["data"][0] | {"price": 1}]})
    del good["lines"]
    with pytest.raises(ContractError, match="'lines' is a required property"):
        contract.check_answer("POST", "/v1/invoices", 200, good)
    with pytest.raises(ContractError, match="type"):
        contract.check_answer("POST", "/v1/invoices", 400, {"error": {"type": "rate_limit_error"}})
