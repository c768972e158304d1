"""Invoices follow Stripe: by events in any order and number, by looking again, by the clock."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response

from services.invoicer.following.events import StripeEvent
from services.invoicer.following.inbox import store_events
from services.invoicer.stripe_objects import StripeFault
from shared.clock import present
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.services.invoicer.proxy import Call, pass_on
from tests.services.invoicer.sent import ITEMS, SentMonth, sent_month

FATES = {
    "left": [],
    "paid": ["pay"],
    "voided": ["void"],
    "lost": ["mark_uncollectible"],
    "late": ["mark_uncollectible", "pay"],
    "gone": ["mark_uncollectible", "void"],
}
STATES = {
    "left": "finalized",
    "paid": "paid",
    "voided": "void",
    "lost": "uncollectible",
    "late": "paid",
    "gone": "void",
}


@pytest.fixture(scope="module")
async def month(new_world: OpenWorld) -> AsyncIterator[SentMonth]:
    async with new_world() as world, sent_month(world, **dict.fromkeys(FATES, ITEMS)) as made:
        yield made


@pytest.fixture(scope="module")
async def events(month: SentMonth) -> list[StripeEvent]:
    """All that happened to the invoices at Stripe, each having met its fate."""
    for customer, acts in FATES.items():
        for act in acts:
            values = {"paid_out_of_band": True} if act == "pay" else {}
            await month.at_stripe(customer, act, **values)
    return await month.events()


@pytest.fixture(autouse=True)
async def _as_sent(month: SentMonth, events: list[StripeEvent]) -> None:
    assert events
    await _forget(month)


async def _forget(month: SentMonth) -> None:
    """Put the books back to where nothing was heard of since the invoices were sent."""
    async with month.world.connect() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE invoices SET state = 'finalized'")
        await connection.execute("TRUNCATE stripe_events")
    month.proxy.before = pass_on


async def _states(month: SentMonth) -> dict[str, str]:
    rows = await month.world.fetch("SELECT customer_id, state FROM invoices")
    return {row["customer_id"]: row["state"] for row in rows}


async def _deliver(month: SentMonth, *events: StripeEvent) -> None:
    engine = month.world.engine("tallybook_invoicer")
    for one in events:
        await store_events(engine, [one], now=present(), listed=False)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_events_in_any_order_and_number_end_where_stripe_is(
    data: st.DataObject, month: SentMonth, events: list[StripeEvent]
) -> None:
    """Shuffled, repeated, dropped, and applied at any moment; what was dropped is caught up."""
    await _forget(month)
    for customer in data.draw(st.sets(st.sampled_from(["late", "gone", "lost"]))):
        # These were heard of half way.
        query = "UPDATE invoices SET state = 'uncollectible' WHERE customer_id = $1"
        await month.world.fetch(query, customer)
    chosen = data.draw(st.lists(st.sampled_from(events), max_size=2 * len(events)))
    follower = month.follower()
    for one in chosen:
        await _deliver(month, one)
        if data.draw(st.booleans()):
            await follower.apply_waiting()
    await follower.apply_waiting()
    heard = {one.stripe_invoice for one in chosen}
    for customer, state in (await _states(month)).items():
        invoice = await month.invoice(customer)
        if invoice.stripe_invoice_id in heard:
            assert state == STATES[customer]
    assert await month.world.count("stripe_events") == len({one.id for one in chosen})
    await follower.catch_up()
    assert await _states(month) == STATES
    assert await follower.catch_up() == []


async def test_what_no_event_told_is_found_by_looking_at_all(month: SentMonth) -> None:
    """As after more than the thirty days for which Stripe lists events."""

    async def no_events(call: Call) -> Response | None:
        empty = {"object": "list", "data": [], "has_more": False, "url": "/v1/events"}
        return JSONResponse(empty) if call.name == "GET events" else None

    month.proxy.before = no_events
    assert await month.follower().catch_up() == []
    moved = await month.follower().follow_all()
    assert {one.invoice.customer_id: one.invoice.state for one in moved} == {
        name: state for name, state in STATES.items() if name != "left"
    }
    assert await _states(month) == STATES
    calls = len(month.proxy.calls)
    assert await month.follower().follow_all() == []
    read = [call.name for call in month.proxy.calls[calls:]]
    assert read == ["GET events", "GET invoices"]


async def test_an_open_invoice_is_overdue_by_the_clock_alone(month: SentMonth) -> None:
    due = (await month.invoice("left")).due_at
    assert due is not None
    before = month.follower(lambda: due - timedelta(seconds=1))
    assert await before.note_overdue() == []
    calls = len(month.proxy.calls)
    moved = await month.follower(lambda: due + timedelta(seconds=1)).note_overdue()
    assert len(month.proxy.calls) == calls
    assert {one.invoice.state for one in moved} == {"overdue"}
    await month.follower(lambda: due + timedelta(seconds=1)).follow_all()
    assert await _states(month) == {**STATES, "left": "overdue"}
    invoice = await month.invoice("left")
    assert (await month.acts(invoice.id))[-1] == "invoice.overdue invoicer"
    paid = await month.invoice("paid")
    assert (await month.acts(paid.id))[-1] == "invoice.paid stripe"


async def test_while_stripe_is_away_events_wait(
    month: SentMonth, events: list[StripeEvent]
) -> None:
    async def down(_call: Call) -> Response:
        return JSONResponse({"error": {"type": "api_error", "message": "down"}}, 500)

    await _deliver(month, *events)
    month.proxy.before = down
    for work in (month.follower().apply_waiting, month.follower().catch_up):
        with pytest.raises(StripeFault):
            await work()
    assert set((await _states(month)).values()) == {"finalized"}
    month.proxy.before = pass_on
    await month.follower().apply_waiting()
    assert await _states(month) == STATES


async def test_one_invoice_that_cannot_be_read_stops_no_other(
    month: SentMonth, events: list[StripeEvent]
) -> None:
    paid = await month.invoice("paid")

    async def missing(call: Call) -> Response | None:
        if call.path == f"/v1/invoices/{paid.stripe_invoice_id}":
            error = {"type": "invalid_request_error", "code": "resource_missing", "message": "no"}
            return JSONResponse({"error": error}, 404)
        return None

    month.proxy.before = missing
    await _deliver(month, *events)
    await month.follower().apply_waiting()
    assert await _states(month) == {**STATES, "paid": "finalized"}
    assert await month.follower().apply_waiting() == []


async def test_events_of_an_invoice_on_its_way_wait_until_it_is_final(
    month: SentMonth, events: list[StripeEvent]
) -> None:
    await month.world.fetch("UPDATE invoices SET state = 'verified' WHERE customer_id = 'paid'")
    await _deliver(month, *events)
    await month.follower().apply_waiting()
    assert await _states(month) == {**STATES, "paid": "verified"}
    await month.world.fetch("UPDATE invoices SET state = 'finalized' WHERE customer_id = 'paid'")
    await month.follower().apply_waiting()
    assert await _states(month) == STATES


async def test_the_command_names_what_has_moved(month: SentMonth) -> None:
    ran = await tallybook(month.world, "invoices", "follow", "--json")
    assert ran.status == 0, ran.err
    moved = {one["invoice"]["customer"]: one["before"] for one in ran.document["moved"]}
    assert moved == {name: "finalized" for name in STATES if name != "left"}
    assert "all stand as they did" in (await tallybook(month.world, "invoices", "follow")).out
