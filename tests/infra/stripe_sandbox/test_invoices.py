"""An invoice's lines, totals, statuses and lists behave as Stripe's."""

from typing import Any

import pytest

from infra.stripe_sandbox.objects import settle
from tests.infra.stripe_sandbox.checked import Api, error, lines_of, ok
from tests.infra.stripe_sandbox.conftest import StandingClock


async def _all_lines(api: Api, invoice: str, limit: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = ok(await api.get(f"/v1/invoices/{invoice}/lines", query))
        lines += page["data"]
        if not page["has_more"]:
            return lines
        query["starting_after"] = lines[-1]["id"]


async def test_totals_are_the_sum_of_all_lines_over_several_calls(api: Api) -> None:
    draft = await api.invoice_of(1000, -250)
    grown = ok(await api.post(f"/v1/invoices/{draft['id']}/add_lines", lines_of(*[7] * 100)))
    for name in ("subtotal", "total", "amount_due", "amount_remaining", "total_excluding_tax"):
        assert grown[name] == 1450, name
    assert ok(await api.get(f"/v1/invoices/{draft['id']}")) == grown


async def test_an_invoice_shows_ten_lines_and_lists_the_rest_in_order(api: Api) -> None:
    draft = await api.invoice_of(*range(100, 125))
    assert [line["amount"] for line in draft["lines"]["data"]] == list(range(100, 110))
    assert draft["lines"]["has_more"] is True
    lines = await _all_lines(api, draft["id"], limit=7)
    assert [line["amount"] for line in lines] == list(range(100, 125))
    before = ok(
        await api.get(
            f"/v1/invoices/{draft['id']}/lines", {"limit": 2, "ending_before": lines[5]["id"]}
        )
    )
    assert [line["amount"] for line in before["data"]] == [103, 104]
    assert before["has_more"] is True


async def test_a_call_adds_at_most_100_lines_and_an_invoice_holds_250(api: Api) -> None:
    draft = await api.invoice_of()
    path = f"/v1/invoices/{draft['id']}/add_lines"
    assert error(await api.post(path, lines_of(*[1] * 101)), 400)["param"] == "lines"
    for number in (100, 100, 50):
        ok(await api.post(path, lines_of(*[1] * number)))
    assert "250" in error(await api.post(path, lines_of(1)), 400)["message"]
    assert ok(await api.get(f"/v1/invoices/{draft['id']}"))["total"] == 250


async def test_lines_go_on_drafts_only(api: Api) -> None:
    draft = await api.invoice_of(100)
    ok(await api.post(f"/v1/invoices/{draft['id']}/finalize"))
    fault = error(await api.post(f"/v1/invoices/{draft['id']}/add_lines", lines_of(1)), 400)
    assert fault["code"] == "invoice_not_editable"


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        ({"amount": "12.5"}, "parameter_invalid_integer", "lines[0][amount]"),
        ({"amount": "1e3"}, "parameter_invalid_integer", "lines[0][amount]"),
        ({"amount": "1_000"}, "parameter_invalid_integer", "lines[0][amount]"),
        ({"amount": ""}, "parameter_invalid_empty", "lines[0][amount]"),
        ({"description": "free"}, "parameter_missing", "lines[0][amount]"),
        ({"amount": 1, "price": "p"}, "parameter_unknown", "lines[0][price]"),
        ({"amount": 1, "quantity": 2}, None, "lines[0][amount]"),
        ({"amount": 1, "period": {"start": 1}}, "parameter_missing", "lines[0][period][end]"),
    ],
)
async def test_a_wrong_line_is_refused(
    api: Api, line: dict[str, Any], code: str | None, param: str
) -> None:
    draft = await api.invoice_of()
    answer = await api.post(f"/v1/invoices/{draft['id']}/add_lines", {"lines": [line]})
    fault = error(answer, 400)
    assert (fault.get("code"), fault["param"]) == (code, param)
    assert ok(await api.get(f"/v1/invoices/{draft['id']}"))["lines"]["data"] == []


async def test_finalizing_numbers_and_opens_a_draft(api: Api, clock: StandingClock) -> None:
    draft = await api.invoice_of(500)
    created = clock.now
    clock.now += 60
    final = ok(await api.post(f"/v1/invoices/{draft['id']}/finalize", {"auto_advance": False}))
    assert (final["status"], final["amount_due"], final["amount_remaining"]) == ("open", 500, 500)
    assert final["status_transitions"]["finalized_at"] == final["effective_at"] == clock.now
    assert final["due_date"] == created + 30 * 86_400
    assert final["number"].endswith("-0001")
    assert final["hosted_invoice_url"].startswith("http://127.0.0.1")
    fault = error(await api.post(f"/v1/invoices/{draft['id']}/finalize"), 400)
    assert "already finalized" in fault["message"]


async def test_numbers_run_on_for_each_customer(api: Api) -> None:
    customer = (await api.customer())["id"]
    numbers = []
    for _ in range(2):
        draft = await api.draft(customer)
        numbers.append(ok(await api.post(f"/v1/invoices/{draft['id']}/finalize"))["number"])
    assert [number[8:] for number in numbers] == ["-0001", "-0002"]


async def test_nothing_due_is_paid_at_once(api: Api, clock: StandingClock) -> None:
    draft = await api.invoice_of(100, -100)
    final = ok(await api.post(f"/v1/invoices/{draft['id']}/finalize"))
    assert (final["status"], final["amount_paid"]) == ("paid", 0)
    assert final["status_transitions"]["paid_at"] == clock.now


async def test_a_negative_total_becomes_credit_for_the_next_invoice(api: Api) -> None:
    draft = await api.invoice_of(-300)
    final = ok(await api.post(f"/v1/invoices/{draft['id']}/finalize"))
    assert (final["status"], final["total"], final["ending_balance"]) == ("paid", -300, -300)
    following = await api.draft(final["customer"])
    ok(await api.post(f"/v1/invoices/{following['id']}/add_lines", lines_of(1000)))
    final = ok(await api.post(f"/v1/invoices/{following['id']}/finalize"))
    assert (final["total"], final["amount_due"], final["ending_balance"]) == (1000, 700, 0)


@pytest.mark.parametrize(
    ("total", "balance", "due", "ending"),
    [(500, 0, 500, 0), (500, -200, 300, 0), (500, -800, 0, -300), (0, 0, 0, 0), (5, 10, 15, 0)],
)
def test_settling_with_the_customers_balance(
    total: int, balance: int, due: int, ending: int
) -> None:
    assert settle(total, balance) == (due, ending)


@pytest.mark.parametrize(
    ("steps", "last", "message"),
    [
        ([], "void", "isn't open"),
        ([], "mark_uncollectible", "isn't open"),
        (["finalize"], "pay", "paid_out_of_band"),
        (["finalize", "void"], "void", "isn't open"),
        (["finalize", "void"], "send", "cannot be sent"),
        (["finalize", "void"], "finalize", "already finalized"),
        (["finalize", "mark_uncollectible"], "mark_uncollectible", "already been marked"),
    ],
)
async def test_what_a_status_does_not_allow_is_refused(
    api: Api, steps: list[str], last: str, message: str
) -> None:
    path = f"/v1/invoices/{(await api.invoice_of(100))['id']}"
    for step in steps:
        ok(await api.post(f"{path}/{step}"))
    assert message in error(await api.post(f"{path}/{last}"), 400)["message"]


async def test_paying_outside_stripe(api: Api, clock: StandingClock) -> None:
    path = f"/v1/invoices/{(await api.invoice_of(100))['id']}"
    ok(await api.post(f"{path}/finalize"))
    paid = ok(await api.post(f"{path}/pay", {"paid_out_of_band": True}))
    assert (paid["status"], paid["amount_paid"], paid["amount_remaining"]) == ("paid", 100, 0)
    assert paid["status_transitions"]["paid_at"] == clock.now
    assert "already paid" in error(await api.post(f"{path}/pay"), 400)["message"]
    assert "cannot be voided" in error(await api.post(f"{path}/void"), 400)["message"]


async def test_voiding_keeps_the_amounts(api: Api) -> None:
    path = f"/v1/invoices/{(await api.invoice_of(100))['id']}"
    ok(await api.post(f"{path}/finalize"))
    void = ok(await api.post(f"{path}/void"))
    assert (void["status"], void["amount_due"], void["amount_remaining"]) == ("void", 100, 100)


async def test_an_uncollectible_invoice_can_still_be_paid_or_voided(api: Api) -> None:
    for last, values in (("pay", {"paid_out_of_band": True}), ("void", {})):
        path = f"/v1/invoices/{(await api.invoice_of(100))['id']}"
        ok(await api.post(f"{path}/finalize"))
        ok(await api.post(f"{path}/mark_uncollectible"))
        assert ok(await api.post(f"{path}/{last}", values))["status"] in ("paid", "void")


async def test_sending_a_draft_finalizes_it(api: Api) -> None:
    path = f"/v1/invoices/{(await api.invoice_of(100))['id']}"
    assert ok(await api.post(f"{path}/send"))["status"] == "open"


async def test_a_draft_takes_changes_and_a_finalized_invoice_only_metadata(api: Api) -> None:
    path = f"/v1/invoices/{(await api.invoice_of(100))['id']}"
    changed = ok(await api.post(path, {"description": "new", "metadata": {"a": "1", "b": "2"}}))
    assert (changed["description"], changed["metadata"]) == ("new", {"a": "1", "b": "2"})
    ok(await api.post(f"{path}/finalize"))
    changed = ok(await api.post(path, {"metadata": {"a": "", "c": "3"}}))
    assert changed["metadata"] == {"b": "2", "c": "3"}
    assert error(await api.post(path, {"description": "late"}), 400)["param"] == "description"
    assert ok(await api.post(path, {"metadata": ""}))["metadata"] == {}


async def test_only_drafts_are_deleted(api: Api) -> None:
    draft = await api.invoice_of(100)
    deleted = ok(await api.http.delete(f"/v1/invoices/{draft['id']}"))
    assert deleted == {"id": draft["id"], "object": "invoice", "deleted": True}
    error(await api.get(f"/v1/invoices/{draft['id']}"), 404)
    kept = await api.invoice_of(100)
    ok(await api.post(f"/v1/invoices/{kept['id']}/finalize"))
    error(await api.http.delete(f"/v1/invoices/{kept['id']}"), 400)


async def test_a_draft_of_a_deleted_customer_can_only_be_deleted(api: Api) -> None:
    draft = await api.invoice_of(100)
    opened = ok(await api.post(f"/v1/invoices/{(await api.invoice_of(100))['id']}/finalize"))
    for invoice in (draft, opened):
        ok(await api.http.delete(f"/v1/customers/{invoice['customer']}"))
    for act, values in (("add_lines", lines_of(1)), ("finalize", {}), ("send", {})):
        answer = await api.post(f"/v1/invoices/{draft['id']}/{act}", values)
        assert error(answer, 400)["code"] == "resource_missing"
    ok(await api.http.delete(f"/v1/invoices/{draft['id']}"))
    assert ok(await api.post(f"/v1/invoices/{opened['id']}/void"))["status"] == "void"


async def test_invoices_are_listed_newest_first_by_filter_and_page(
    api: Api, clock: StandingClock
) -> None:
    customer = (await api.customer())["id"]
    made = []
    for _ in range(5):
        clock.now += 10
        made.append((await api.draft(customer))["id"])
    await api.invoice_of()
    query: dict[str, Any] = {"customer": customer, "limit": 2}
    first = ok(await api.get("/v1/invoices", query))
    assert (first["object"], first["url"], first["has_more"]) == ("list", "/v1/invoices", True)
    assert [one["id"] for one in first["data"]] == made[:2:-1]
    after = ok(await api.get("/v1/invoices", {**query, "starting_after": made[3]}))
    assert [one["id"] for one in after["data"]] == [made[2], made[1]]
    before = ok(await api.get("/v1/invoices", {**query, "ending_before": made[1]}))
    assert [one["id"] for one in before["data"]] == [made[3], made[2]]
    recent = {"customer": customer, "created": {"gte": clock.now - 10, "lt": clock.now}}
    assert [one["id"] for one in ok(await api.get("/v1/invoices", recent))["data"]] == [made[3]]
    ok(await api.post(f"/v1/invoices/{made[0]}/finalize"))
    query = {"customer": customer, "status": "paid"}
    assert [one["id"] for one in ok(await api.get("/v1/invoices", query))["data"]] == [made[0]]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"limit": 101}, "parameter_invalid_integer"),
        ({"limit": 0}, "parameter_invalid_integer"),
        ({"starting_after": "in_nowhere"}, "resource_missing"),
        ({"month": "10"}, "parameter_unknown"),
        ({"created": {"since": 1}}, "parameter_unknown"),
        ({"customer": ""}, "parameter_invalid_empty"),
    ],
)
async def test_a_wrong_query_is_refused(api: Api, query: dict[str, Any], code: str) -> None:
    assert error(await api.get("/v1/invoices", query), 400)["code"] == code


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"currency": "usd"}, "customer"),
        ({"customer": "cus_nowhere"}, "customer"),
        ({"customer": "cus_nowhere", "currency": "euro"}, "currency"),
        ({"customer": "cus_nowhere", "discounts": [{"coupon": "x"}]}, "discounts"),
        ({"customer": "cus_nowhere", "auto_advance": "yes"}, "auto_advance"),
    ],
)
async def test_a_wrong_draft_is_refused(api: Api, values: dict[str, Any], param: str) -> None:
    assert error(await api.post("/v1/invoices", values), 400)["param"] == param


async def test_a_sent_invoice_needs_its_days_and_another_must_not_have_them(api: Api) -> None:
    customer = (await api.customer())["id"]
    sent = {"customer": customer, "collection_method": "send_invoice"}
    assert "due_date" in error(await api.post("/v1/invoices", sent), 400)["message"]
    charged = {"customer": customer, "days_until_due": 3}
    assert "due_date" in error(await api.post("/v1/invoices", charged), 400)["message"]
