"""Approval of a run, and opening a closed month again: who may, when, and what comes of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer import steering
from services.invoicer.reopening import reopen_period
from services.invoicer.steering import ApprovalBy, NotApprovedError
from services.invoicer.stripe_gateway import StripeGateway
from shared.clock import present
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError, TallybookError
from shared.tables.invoicer import InvoiceRun
from tests.integration.harness.world import World
from tests.services.invoicer import months
from tests.services.invoicer.postings import Item


@pytest.fixture
async def run(world: World) -> InvoiceRun:
    """A run of two customers, started by `tests`."""
    await world.apply_catalogue()
    await months.fill_month(world, {"acme": [Item("10")], "bob": [Item("5")]})
    return await months.start(world)


@pytest.fixture
def engine(world: World) -> AsyncEngine:
    return world.engine("tallybook_invoicer")


@pytest.fixture
async def gateway(world: World) -> AsyncIterator[StripeGateway]:
    await world.start_stripe()
    async with StripeGateway(world.settings) as made:
        yield made


async def approve(
    engine: AsyncEngine,
    run_id: str,
    actor: str,
    payload_sha256: str | None = None,
    approval_by: ApprovalBy = "another",
) -> InvoiceRun:
    return await steering.approve(
        engine,
        run_id,
        payload_sha256=payload_sha256,
        approval_by=approval_by,
        actor=actor,
        clock=present,
    )


async def begin(engine: AsyncEngine, run_id: str, approval_by: ApprovalBy) -> InvoiceRun:
    return await steering.begin(engine, run_id, approval_by=approval_by, actor="ada")


async def acts(world: World, subject: str) -> list[tuple[str, str]]:
    rows = await world.fetch("SELECT act, actor FROM audit_entries WHERE subject = $1", subject)
    return [(row["act"], row["actor"]) for row in rows]


async def test_what_must_be_approved_is_not_sent_before(
    world: World, engine: AsyncEngine, run: InvoiceRun
) -> None:
    for approval_by, words in (("anyone", "must be approved before"), ("another", "than tests")):
        with pytest.raises(NotApprovedError, match=words):
            await begin(engine, run.id, approval_by)  # type: ignore[arg-type]
    with pytest.raises(NotApprovedError, match="started by tests: another person"):
        await approve(engine, run.id, "tests")
    with pytest.raises(NotApprovedError, match="look at it again"):
        await approve(engine, run.id, "ada", "0" * 64)
    with pytest.raises(NotFoundError):
        await approve(engine, "run_1999-01", "ada")

    approved = await approve(engine, run.id, "ada", run.payload_sha256)
    assert (approved.state, approved.approved_by) == ("approved", "ada")
    with pytest.raises(ConflictingStateError, match="approved by ada already"):
        await approve(engine, run.id, "ben")
    assert (await begin(engine, run.id, "another")).state == "sending"
    assert await acts(world, run.id) == [
        ("run.start", "tests"),
        ("run.approve", "ada"),
        ("run.send", "ada"),
    ]


async def test_one_who_starts_it_may_approve_it_where_anyone_may(
    engine: AsyncEngine, run: InvoiceRun
) -> None:
    await approve(engine, run.id, "tests", approval_by="anyone")
    assert (await begin(engine, run.id, "anyone")).state == "sending"


async def test_a_run_that_is_sent_is_not_approved_any_more(
    engine: AsyncEngine, run: InvoiceRun
) -> None:
    await begin(engine, run.id, "nobody")
    with pytest.raises(ConflictingStateError, match="is sending: it is too late"):
        await approve(engine, run.id, "ada")


async def test_what_was_changed_after_its_approval_is_not_sent(
    world: World, engine: AsyncEngine, run: InvoiceRun
) -> None:
    await approve(engine, run.id, "ada", run.payload_sha256)
    await world.fetch("UPDATE invoices SET payload_sha256 = 'other' WHERE customer_id = 'acme'")
    with pytest.raises(ConflictingStateError, match="not those that it was made of"):
        await begin(engine, run.id, "another")


@pytest.mark.parametrize("state", ["planned", "done"])
async def test_only_a_run_that_is_being_sent_is_paused(
    world: World, engine: AsyncEngine, run: InvoiceRun, state: str
) -> None:
    await world.fetch("UPDATE invoice_runs SET state = $1", state)
    with pytest.raises(ConflictingStateError, match=f"is {state}"):
        await steering.pause(engine, run.id, why="so", actor="ada")


async def test_a_month_is_opened_again_and_closed_with_what_came(
    world: World, engine: AsyncEngine, run: InvoiceRun, gateway: StripeGateway
) -> None:
    await approve(engine, run.id, "ada")
    with pytest.raises(InvalidInputError, match="say why"):
        await reopen_period(engine, world.period, why=" ", actor="ada")
    assert await reopen_period(engine, world.period, why="a fee is missing", actor="ada") == 2
    for table in ("periods", "invoice_runs", "invoices", "invoice_lines", "invoice_line_items"):
        assert await world.count(table) == 0
    with pytest.raises(ConflictingStateError, match="is not closed"):
        await reopen_period(engine, world.period, why="again", actor="ada")

    [contract] = await world.fetch("SELECT id FROM contracts WHERE customer_id = 'acme'")
    await months.post(world, "acme", contract["id"], [Item("7")])
    again = await months.start(world)
    assert (again.state, again.approved_by) == ("planned", None)
    assert again.payload_sha256 != run.payload_sha256
    assert (await months.send(world, gateway)).state == "done"
    totals = {name: one.total_minor for name, one in (await months.invoices(world)).items()}
    assert totals == {"acme": 1700, "bob": 500}
    assert [act for act, _ in await acts(world, str(world.period))] == [
        "period.close",
        "period.reopen",
        "period.close",
    ]


async def test_a_month_of_which_anything_was_sent_stays_closed(
    world: World, engine: AsyncEngine, run: InvoiceRun, gateway: StripeGateway
) -> None:
    await months.send(world, gateway)
    with pytest.raises(ConflictingStateError, match="stays closed"):
        await reopen_period(engine, world.period, why="so", actor="ada")
    # Not even if the run seems never to have been sent, as long as one call is on record.
    await world.fetch("UPDATE invoice_runs SET state = 'planned'")
    await world.fetch("UPDATE invoices SET attempts = 0, stripe_invoice_id = NULL")
    with pytest.raises(ConflictingStateError, match="stays closed"):
        await reopen_period(engine, world.period, why="so", actor="ada")


async def test_months_are_opened_in_the_opposite_order(
    world: World, engine: AsyncEngine, run: InvoiceRun
) -> None:
    later = world.period.next()
    await world.fetch(
        "INSERT INTO periods (period, state, closing_at, closed_at)"
        " VALUES ($1, 'closed', now(), now())",
        str(later),
    )
    with pytest.raises(ConflictingStateError, match=f"{later} is closed too"):
        await reopen_period(engine, world.period, why="so", actor="ada")


async def test_of_a_send_and_a_reopening_at_once_one_comes_about(
    world: World, engine: AsyncEngine, run: InvoiceRun
) -> None:
    async def attempt(act: str) -> str | None:
        try:
            if act == "send":
                await begin(engine, run.id, "nobody")
            else:
                await reopen_period(engine, world.period, why="so", actor="ada")
        except TallybookError:
            return None
        return act

    for _ in range(10):
        came = [one for one in await asyncio.gather(attempt("send"), attempt("reopen")) if one]
        assert len(came) == 1, came
        assert await world.count("invoices") == (2 if came == ["send"] else 0)
        if came == ["send"]:
            await world.fetch("UPDATE invoice_runs SET state = 'planned'")
        else:
            await months.start(world)
