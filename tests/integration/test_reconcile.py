"""The books of a month agree from the log to Stripe, and every way to spoil them has its name.

One month is taken all the way; each test spoils one thing in it, as the superuser or in Stripe's
file, and puts it back.
"""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event

from shared.periods import Period
from tests.infra.stripe_sandbox.checked import lines_of, ok
from tests.integration.conftest import OpenWorld
from tests.integration.harness import traffic
from tests.integration.harness.events import encoded, executions
from tests.services.invoicer.reconciling import Books, invoiced

DISCOUNTED = "dan"


@pytest.fixture(scope="module")
async def books(new_world: OpenWorld) -> AsyncIterator[Books]:
    async with new_world() as world:
        await traffic.settle(world)
        await world.add_customer(DISCOUNTED, "byok", discount="volume-50k")
        await world.start("rater")
        await traffic.put_on_log(world)
        events = executions(DISCOUNTED, 60, period=world.period)
        await world.produce([encoded(one) for one in events], key=DISCOUNTED.encode())
        await world.caught_up()
        async with invoiced(world) as invoiced_books:
            yield invoiced_books


async def test_a_good_month_is_clean_stage_by_stage(books: Books) -> None:
    found = await books.reconcile()
    assert found.clean
    billable = sum(count * 9 // 10 for name, count in traffic.COUNTS.items() if name != "unknown")
    stages = {one.source: one for one in found.stages}
    plans = stages["usage and fees by the plans (USD)"]
    assert plans.count_from == plans.count_to == billable + 60
    assert plans.amount_from == plans.amount_to == Decimal("28.30")
    held = stages["invoices (USD)"]
    assert (held.count_from, held.count_to) == (Decimal(4), Decimal(3))
    assert (held.amount_from, held.amount_to) == (Decimal("28.30"), Decimal("28.18"))
    names = {one.name: one for one in found.differences}
    others = {"duplicate", "conflict", "unpriced", "not_billable"}
    assert names.keys() == {*others, "carried_forward"}
    assert names["carried_forward"].amount == Decimal("0.12")
    assert names["unpriced"].ids == ("unknown",)
    assert names["conflict"].ids == ("agents/tests ada-000000",)


async def test_an_invoice_deleted_at_stripe(books: Books) -> None:
    invoice = await books.held("ben")
    books.stripe.hide(invoice["id"])
    found = await books.critical()
    books.stripe.hide(invoice["id"], hidden=False)
    assert found.keys() == {"missing_in_stripe"}
    assert found["missing_in_stripe"].amount == Decimal("19.90")


async def test_an_amount_changed_at_stripe(books: Books) -> None:
    invoice = await books.held("ben")
    heads = books.stripe.change(invoice["id"], subtotal=990, total=990)
    line = books.stripe.change_lines(invoice["id"], amount=900)
    found = await books.critical()
    books.stripe.change(invoice["id"], **heads)
    books.stripe.change_lines(invoice["id"], **line)
    assert found.keys() == {"subtotal_mismatch", "line_mismatch"}
    assert found["subtotal_mismatch"].amount == Decimal("10.00")
    assert found["subtotal_mismatch"].ids[1] == invoice["id"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"status": "void"}, "status_drift"),
        ({"status": "draft"}, "stuck_draft"),
        ({"total": 1}, "tax_or_discount"),
    ],
)
async def test_a_status_or_a_tax_changed_at_stripe(
    books: Books, fields: Mapping[str, Any], name: str
) -> None:
    invoice = await books.held("ada")
    before = books.stripe.change(invoice["id"], **fields)
    found = await books.critical()
    books.stripe.change(invoice["id"], **before)
    assert found.keys() == {name}


async def test_an_orphan_at_stripe(books: Books) -> None:
    twin = (await books.held("ada"))["customer"]
    metadata = {"billing_key": "ada:again", "period": str(books.world.period)}
    orphan = await books.stripe.api.draft(twin, metadata=metadata)
    ok(await books.stripe.api.post(f"/v1/invoices/{orphan['id']}/add_lines", lines_of(500)))
    found = await books.critical()
    await books.stripe.delete_draft(orphan["id"])
    assert found.keys() == {"orphan_in_stripe"}
    assert found["orphan_in_stripe"].ids == (orphan["id"],)
    assert found["orphan_in_stripe"].amount == Decimal(-5)


async def test_a_second_invoice_of_the_same_key_at_stripe(books: Books) -> None:
    invoice = await books.held("ada")
    again = await books.stripe.api.draft(invoice["customer"], metadata=invoice["metadata"])
    found = await books.critical()
    await books.stripe.delete_draft(again["id"])
    assert {name: one.ids for name, one in found.items()} == {"duplicate_in_stripe": (again["id"],)}


async def test_foreign_invoices_and_other_months_are_named_and_no_fault(books: Books) -> None:
    twin = (await books.held("ada"))["customer"]
    foreign = await books.stripe.api.draft(twin)
    metadata = {"billing_key": "x", "period": "2020-01"}
    other = await books.stripe.api.draft(twin, metadata=metadata)
    found = await books.reconcile()
    for one in (foreign, other):
        await books.stripe.delete_draft(one["id"])
    assert found.clean
    ids = {one.name: one.ids for one in found.differences}
    assert ids["foreign"] == (foreign["id"],)
    assert ids["other_month"] == (other["id"],)


BILLABLE = "customer_id = 'ada' AND data ->> 'status' = 'succeeded'"
KEEP = "CREATE TABLE kept AS SELECT * FROM {table} WHERE {which} LIMIT 2"
DELETE_EVENTS = "DELETE FROM events WHERE (source, id) IN (SELECT source, id FROM kept)"
BACK = "INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"


async def test_lost_events(books: Books) -> None:
    keep = KEEP.format(table="events", which=BILLABLE)
    back = BACK.format(table="events")
    async with books.spoiled(keep, DELETE_EVENTS, back=back):
        found = (await books.reconcile()).differences
    critical = {one.name: one for one in found if one.severity == "critical"}
    assert critical.keys() == {"lost", "billed_twice"}
    assert critical["lost"].count == 2
    assert critical["lost"].ids[0].startswith("partition")
    assert critical["billed_twice"].count == -2
    assert critical["billed_twice"].amount == Decimal("-0.004")


async def test_doubled_events(books: Books) -> None:
    doubled = (
        "INSERT INTO events SELECT source, id || '-again', type, customer_id, time, data, digest,"
        f" partition, log_offset, received_at, batch_id, contract_id FROM events WHERE {BILLABLE}"
        " LIMIT 3"
    )
    async with books.spoiled(doubled, back="DELETE FROM events WHERE id LIKE '%-again'"):
        found = await books.critical()
    assert found.keys() == {"orphan_event", "lost"}
    assert found["orphan_event"].count == -3
    assert found["lost"].count == 3


async def test_a_line_item_posted_twice(books: Books) -> None:
    columns = (
        "batch_id, customer_id, contract_id, charge, band, quantity, unit_price, amount, currency,"
        " usage_period, posting_period, kind"
    )
    again = (
        f"INSERT INTO line_items ({columns}) SELECT {columns.replace('batch_id', '-1')}"
        " FROM line_items WHERE customer_id = 'ben' AND kind = 'recurring'"
    )
    async with books.spoiled(again, back="DELETE FROM line_items WHERE batch_id = -1"):
        found = await books.critical()
    assert found.keys() == {"amount_mismatch", "uninvoiced"}
    assert found["uninvoiced"].amount == Decimal(19)
    assert found["amount_mismatch"].amount == Decimal(-19)


async def test_a_line_item_without_an_invoice(books: Books) -> None:
    keep = "CREATE TABLE kept AS SELECT * FROM invoice_line_items LIMIT 1"
    unlink = "DELETE FROM invoice_line_items WHERE line_item_id IN (SELECT line_item_id FROM kept)"
    back = BACK.format(table="invoice_line_items")
    async with books.spoiled(keep, unlink, back=back):
        found = await books.critical()
        (row,) = await books.world.fetch("SELECT line_item_id FROM kept")
    assert found["uninvoiced"].ids == (str(row["line_item_id"]),)
    assert found.keys() - {"uninvoiced"} <= {"amount_mismatch", "orphan_invoice_line"}


def _repriced(old: str, new: str) -> str:
    return (
        "UPDATE plan_versions SET definition ="
        f" replace(definition::text, '\"{old}\"', '\"{new}\"')::jsonb WHERE plan = 'byok'"
    )


async def test_a_wrong_price(books: Books) -> None:
    """The price is reckoned from the plan: what was posted and invoiced alike is not believed."""
    async with books.spoiled(_repriced("0.002", "0.003"), back=_repriced("0.003", "0.002")):
        found = (await books.reconcile()).differences
    wrong = {one.amount for one in found if one.severity == "critical"}
    assert {one.name for one in found if one.severity == "critical"} == {"amount_mismatch"}
    assert wrong == {Decimal("1.350"), Decimal("0.060")}
    assert await books.critical() == {}


async def test_an_invoice_line_changed_here(books: Books) -> None:
    change = (
        "UPDATE invoice_lines SET amount_minor = amount_minor {sign} 1"
        " WHERE description LIKE '%tiered%'"
    )
    async with books.spoiled(change.format(sign="+"), back=change.format(sign="-")):
        found = await books.critical()
    assert found.keys() == {"wrong_rounding", "total_mismatch", "line_mismatch"}


async def test_an_invoice_that_was_not_sent(books: Books) -> None:
    invoice = await books.held("ada")
    change = (
        "UPDATE invoices SET stripe_invoice_id = {id}, state = '{state}' WHERE customer_id = 'ada'"
    )
    forget = change.format(id="NULL", state="failed_retryable")
    back = change.format(id=f"'{invoice['id']}'", state="finalized")
    async with books.spoiled(forget, back=back):
        books.stripe.hide(invoice["id"])
        found = await books.critical()
        books.stripe.hide(invoice["id"], hidden=False)
        drifted = await books.critical()
    assert found.keys() == {"not_sent"}
    assert drifted.keys() == {"id_mismatch", "status_drift"}


async def test_a_hole_in_what_was_handled(books: Books) -> None:
    keep = "CREATE TABLE kept AS SELECT * FROM batches WHERE first_offset > 0 ORDER BY 1 LIMIT 1"
    drop = "DELETE FROM batches b USING kept k WHERE b = k::text::batches"
    back = BACK.format(table="batches")
    async with books.spoiled(keep, drop, back=back):
        (row,) = await books.world.fetch("SELECT count(*)::int AS batches FROM kept")
        found = await books.critical()
    assert row["batches"] == 1
    assert found.keys() == {"lost", "orphan_event"}


async def test_other_months(books: Books) -> None:
    """One that nothing is known of, and the present one, which is open and has no run."""
    empty = await books.reconcile(Period(2020, 1))
    assert (empty.clean, empty.period) == (True, "2020-01")
    present = await books.reconcile(books.world.period.next())
    assert present.clean
    waiting = {one.name: one for one in present.differences}
    assert waiting["uninvoiced"].severity == "warning"
    assert waiting["uninvoiced"].amount == 19


async def test_records_in_flight_are_no_fault(books: Books) -> None:
    (rater,) = [one for one in books.world.processes if one.name == "rater"]
    await rater.stop()
    late = executions("ada", 4, period=books.world.period, prefix="late-")
    await books.world.produce([encoded(one) for one in late], key=b"ada")
    found = await books.reconcile()
    assert found.clean
    (one,) = [one for one in found.differences if one.name == "in_flight"]
    assert one.severity == "warning"
    assert one.count == 4


async def test_late_usage_is_named_in_both_months(books: Books) -> None:
    """Rates the records that the test before left in flight."""
    await books.world.start("rater")
    await books.world.caught_up()
    month = await books.reconcile()
    assert month.clean
    (later,) = [one for one in month.differences if one.name == "posted_later"]
    assert (later.severity, later.amount) == ("info", Decimal("0.008"))
    following = await books.reconcile(books.world.period.next())
    (late,) = [one for one in following.differences if one.name == "late"]
    assert (late.severity, late.amount) == ("info", Decimal("-0.008"))


async def test_the_events_are_passed_over_once(books: Books) -> None:
    seen: list[str] = []
    engine = books.world.engine("tallybook_invoicer").sync_engine

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        await books.reconcile()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    passes = [one for one in seen if " FROM events GROUP BY" in one]
    assert len(passes) == 1
    others = [one for one in seen if "events" in one and one not in passes]
    assert all("contract_id IS NULL" in one for one in others)
