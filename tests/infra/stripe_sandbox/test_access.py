"""Keys, headers, customers and metadata."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from infra.stripe_sandbox.store import OtherVersionError, Store
from tests.infra.stripe_sandbox.checked import Api, error, ok


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "did not provide an API key"),
        ("Basic c2tfdGVzdF94Og==", "did not provide an API key"),
        ("Bearer ", "did not provide an API key"),
        ("Bearer nonsense", "Invalid API Key"),
        ("Bearer sk_live_0123456789", "takes no live keys"),
    ],
)
async def test_a_wrong_key_is_refused_and_not_repeated(api: Api, header: str, message: str) -> None:
    answer = await api.http.get("/v1/customers", headers={"Authorization": header})
    fault = error(answer, 401)
    assert message in fault["message"]
    assert fault["type"] == "invalid_request_error"
    assert "0123456789" not in answer.text
    assert "nonsense" not in answer.text


async def test_each_answer_names_its_request_and_version(api: Api) -> None:
    one = await api.http.get("/v1/customers", headers={"Stripe-Version": "2026-10-28.endive"})
    two = await api.http.get("/v2/nowhere")
    assert one.headers["stripe-version"] == "2026-10-28.endive"
    assert one.headers["request-id"].startswith("req_")
    assert one.headers["request-id"] != two.headers["request-id"]
    assert two.status_code == 404
    assert "Unrecognized request URL" in two.text


async def test_a_body_that_is_no_form_is_refused(api: Api) -> None:
    answer = await api.http.post("/v1/customers", json={"name": "a"})
    assert "content type" in error(answer, 400)["message"]


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({"k" * 41: "v"}, f"metadata[{'k' * 41}]"),
        ({"k": "v" * 501}, "metadata[k]"),
        ({f"k{number}": "v" for number in range(51)}, "metadata"),
        ({"k": {"deep": "v"}}, "metadata[k]"),
    ],
)
async def test_metadata_has_limits(api: Api, metadata: dict[str, Any], param: str) -> None:
    assert error(await api.post("/v1/customers", {"metadata": metadata}), 400)["param"] == param


async def test_merged_metadata_has_at_most_50_keys(api: Api) -> None:
    full = {f"k{number}": "v" for number in range(50)}
    customer = await api.customer(metadata=full)
    path = f"/v1/customers/{customer['id']}"
    assert error(await api.post(path, {"metadata": {"one": "more"}}), 400)["param"] == "metadata"
    changed = ok(await api.post(path, {"metadata": {"one": "more", "k0": ""}}))
    assert len(changed["metadata"]) == 50


async def test_an_empty_text_unsets_a_customers_field(api: Api) -> None:
    customer = await api.customer(name="Ada", address={"country": "DE"})
    path = f"/v1/customers/{customer['id']}"
    changed = ok(await api.post(path, {"name": ""}))
    assert changed["name"] is None
    assert changed["address"]["country"] == "DE"


async def test_a_deleted_customer_is_in_no_list_and_gets_no_invoice(api: Api) -> None:
    kept, gone = await api.customer(), await api.customer()
    ok(await api.http.delete(f"/v1/customers/{gone['id']}"))
    listed = ok(await api.get("/v1/customers", {"email": "ada@example.com"}))
    assert [one["id"] for one in listed["data"]] == [kept["id"]]
    assert ok(await api.get(f"/v1/customers/{gone['id']}"))["deleted"] is True
    error(await api.post("/v1/invoices", {"customer": gone["id"]}), 400)
    error(await api.post(f"/v1/customers/{gone['id']}", {"name": "a"}), 404)


async def test_the_state_counts_objects_and_requests(api: Api) -> None:
    draft = await api.invoice_of(100, 200)
    ok(await api.post(f"/v1/invoices/{draft['id']}/finalize", key="k"))
    state = (await api.http.get("/_sandbox/state")).json()
    assert state["objects"] == {
        "customer": {"active": 1},
        "invoice": {"open": 1},
        "line_item": {"total": 2},
        "idempotent_answer": {"total": 1},
    }
    assert state["requests"]["invoices.finalize"] == 1
    assert (await api.http.get("/health/ready")).status_code == 200


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stripe.sqlite3"
    store = Store(path)
    store.close()
    Store(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(OtherVersionError):
        Store(path)
