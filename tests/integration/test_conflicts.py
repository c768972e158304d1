"""Conflicts: both versions are kept, and which of them counts is decided, audited, and priced."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from services.rater.corrections import rerating, voiding
from services.rater.set_aside import conflicts
from services.rater.set_aside.conflicts import Decision, Resolved
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.events import SOURCE, Event, changed, encoded, execution, executions
from tests.integration.harness.traffic import TIERED
from tests.integration.harness.world import World
from tests.services.invoicer.reconciling import invoiced


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world with a rater, in which each test has customers of its own."""
    async with new_world() as made:
        await made.apply_catalogue()
        await made.apply_catalogue(TIERED)
        await made.start("rater")
        yield made


async def conflict(world: World, *versions: Event) -> list[int]:
    """Put versions of an event on the log, one after the other; gives the conflicts by id."""
    for number, version in enumerate(versions):
        await world.produce([encoded(version)], partition=min(number, 1))
        await world.caught_up()
    rows = await world.fetch(
        "SELECT id FROM conflicts WHERE event_id = $1 ORDER BY id", versions[0]["id"]
    )
    return [row["id"] for row in rows]


async def resolve(world: World, conflict_id: int, decision: Decision) -> Resolved:
    async with world.sessions("tallybook_rater") as session:
        return await conflicts.resolve(
            session,
            conflict_id,
            decision,
            reason="the producer says so",
            actor="tests",
            now=datetime.now(UTC),
        )


async def executions_of(world: World, customer: str) -> tuple[Any, Any]:
    """Give quantity and amount of a customer's executions, of all months."""
    (row,) = await world.fetch(
        "SELECT coalesce(sum(quantity), 0) AS quantity, coalesce(sum(amount), 0) AS amount"
        " FROM line_items WHERE customer_id = $1 AND charge = 'executions'",
        customer,
    )
    return row["quantity"], row["amount"]


async def assert_balanced(world: World) -> None:
    async with world.sessions("tallybook_rater") as session:
        await rerating.begin_snapshot(session)
        assert (await rerating.check_books(session, None, None)).findings == []
    assert await world.out_of_balance() == []


async def test_an_open_conflict_is_kept_and_never_billed(world: World) -> None:
    await world.add_customer("open", "byok")
    event = execution("open", "open-1", time=world.period.start)
    (conflict_id,) = await conflict(world, event, changed(event, output_tokens=1))
    assert await executions_of(world, "open") == (1, Decimal("0.002"))
    async with world.sessions("tallybook_rater") as session:
        whole = await conflicts.get_conflict(session, conflict_id)
        newest = (await conflicts.list_conflicts(session, only_open=True))[0]
    assert (newest.id, newest.state) == (conflict_id, "open")
    assert whole.stored.content()["data"]["output_tokens"] == 500
    assert whole.other.content()["data"]["output_tokens"] == 1


async def test_to_keep_changes_no_amount_and_goes_for_repeats_of_the_same_content(
    world: World,
) -> None:
    await world.add_customer("kept", "byok")
    event = execution("kept", "kept-1", time=world.period.start)
    other, third = changed(event, output_tokens=1), changed(event, output_tokens=2)
    first, again, different = await conflict(world, event, other, other, third)
    kept = await resolve(world, again, "keep")
    assert (kept.count, kept.items, kept.conflict.resolved_by) == (2, [], "tests")
    rows = await world.fetch("SELECT id, state, why FROM conflicts WHERE event_id = 'kept-1'")
    assert {row["id"]: (row["state"], row["why"]) for row in rows} == {
        first: ("kept", "the producer says so"),
        again: ("kept", "the producer says so"),
        different: ("open", None),
    }
    assert await executions_of(world, "kept") == (1, Decimal("0.002"))


async def test_to_take_moves_the_usage_to_whom_the_other_version_names(world: World) -> None:
    await world.add_customer("wrong", "tiered")
    await world.add_customer("right", "tiered")
    await world.produce(
        [encoded(one) for one in executions("wrong", 100, period=world.period)], key=b"wrong"
    )
    event = execution("wrong", "moved-1", time=world.period.start)
    other = execution("right", "moved-1", time=world.period.start + timedelta(days=3))
    (conflict_id,) = await conflict(world, event, other)
    assert await executions_of(world, "wrong") == (101, Decimal("1.005"))
    before = await world.fetch("SELECT * FROM conflicts WHERE id = $1", conflict_id)
    taken = await resolve(world, conflict_id, "take")
    assert {(item.customer_id, item.quantity) for item in taken.items} == {
        ("wrong", Decimal(-1)),
        ("right", Decimal(1)),
    }
    assert await executions_of(world, "wrong") == (100, Decimal(1))
    assert await executions_of(world, "right") == (1, Decimal("0.01"))
    (stored,) = await world.fetch("SELECT * FROM events WHERE id = 'moved-1'")
    (kept,) = await world.fetch("SELECT * FROM conflicts WHERE id = $1", conflict_id)
    content = ("type", "customer_id", "time", "data", "digest", "partition", "log_offset")
    assert [stored[name] for name in content] == [before[0][name] for name in content]
    assert (stored["batch_id"], stored["partition"]) == (taken.batch_id, 1)
    assert (kept["customer_id"], kept["partition"], kept["state"]) == ("wrong", 0, "taken")
    (entry,) = await world.fetch(
        "SELECT actor, before, after FROM audit_entries WHERE act = 'conflict.resolve'"
        " AND subject LIKE '%moved-1'"
    )
    assert entry["actor"] == "tests"
    assert msgspec.json.decode(entry["after"])["decision"] == "take"
    assert msgspec.json.decode(entry["before"])["stored"]["partition"] == 0
    await assert_balanced(world)


async def test_to_take_finds_the_contract_of_the_new_time_and_customer(world: World) -> None:
    """To another month, then to a customer who is not there yet."""
    await world.add_customer("months", "byok", starts_at=world.period.previous().start)
    event = execution("months", "months-1", time=world.period.start)
    earlier = {**event, "time": world.period.previous().start.isoformat()}
    waits = {**event, "subject": "stranger"}
    in_earlier, for_stranger = await conflict(world, event, earlier, waits)
    await resolve(world, in_earlier, "take")
    rows = await world.fetch(
        "SELECT usage_period, sum(quantity) AS quantity FROM line_items"
        " WHERE customer_id = 'months' AND charge = 'executions' GROUP BY 1"
    )
    assert dict(map(tuple, rows)) == {
        str(world.period): 0,
        str(world.period.previous()): 1,
    }
    await resolve(world, for_stranger, "take")
    assert await executions_of(world, "months") == (0, 0)
    (stored,) = await world.fetch("SELECT customer_id, contract_id FROM events WHERE id='months-1'")
    assert tuple(stored) == ("stranger", None)
    await assert_balanced(world)
    await world.add_customer("stranger", "byok")
    await world.caught_up()
    assert await executions_of(world, "stranger") == (1, Decimal("0.002"))
    with pytest.raises(ConflictingStateError, match="was resolved already"):
        await resolve(world, in_earlier, "take")
    await assert_balanced(world)


async def test_a_failed_execution_that_succeeded_after_all(world: World) -> None:
    await world.add_customer("failed", "byok")
    event = execution("failed", "failed-1", time=world.period.start, status="failed")
    other = execution("failed", "failed-1", time=world.period.start)
    (conflict_id,) = await conflict(world, event, other)
    assert await executions_of(world, "failed") == (0, 0)
    await resolve(world, conflict_id, "take")
    assert await executions_of(world, "failed") == (1, Decimal("0.002"))
    await assert_balanced(world)


async def test_a_voided_event_stays_void(world: World) -> None:
    await world.add_customer("void", "byok")
    event = execution("void", "void-1", time=world.period.start)
    (conflict_id,) = await conflict(world, event, changed(event, output_tokens=1))
    async with world.sessions("tallybook_rater") as session:
        await voiding.void_event(
            session,
            source=SOURCE,
            event_id="void-1",
            reason="a test",
            actor="tests",
            now=datetime.now(UTC),
        )
    with pytest.raises(ConflictingStateError, match="was voided"):
        await resolve(world, conflict_id, "take")
    assert (await resolve(world, conflict_id, "keep")).conflict.state == "kept"
    assert await executions_of(world, "void") == (0, 0)


async def test_of_two_who_decide_at_once_one_decides(world: World) -> None:
    await world.add_customer("both", "byok")
    event = execution("both", "both-1", time=world.period.start, status="failed")
    other = execution("both", "both-1", time=world.period.start)
    (conflict_id,) = await conflict(world, event, other)
    outcomes = await asyncio.gather(
        *(resolve(world, conflict_id, "take") for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in outcomes) == [
        "ConflictingStateError",
        "ConflictingStateError",
        "Resolved",
    ]
    assert await executions_of(world, "both") == (1, Decimal("0.002"))
    with pytest.raises(NotFoundError):
        await resolve(world, 999_999, "keep")
    async with world.sessions("tallybook_rater") as session:
        with pytest.raises(InvalidInputError, match="say why"):
            await conflicts.resolve(
                session, conflict_id, "keep", reason=" ", actor="a", now=datetime.now(UTC)
            )


async def test_content_changes_by_a_conflict_only_and_only_while_it_is_open(world: World) -> None:
    await world.add_customer("rights", "byok")
    event = execution("rights", "rights-1", time=world.period.start)
    (conflict_id,) = await conflict(world, event, changed(event, output_tokens=1))
    await resolve(world, conflict_id, "keep")
    query = "SELECT data::text FROM events WHERE id = 'rights-1'"
    before = await world.fetch(query)
    async with world.connect("tallybook_rater") as connection:
        await connection.execute("SELECT take_conflict($1)", conflict_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE events SET digest = ''")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE conflicts SET data = '{}'")
    assert await world.fetch(query) == before
    async with world.connect("tallybook_invoicer") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT take_conflict($1)", conflict_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE conflicts SET state = 'kept'")


async def test_after_the_close_what_changes_goes_onto_the_next_month(new_world: OpenWorld) -> None:
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("early", "byok")
        await world.add_customer("other", "byok")
        await world.start("rater")
        event = execution("early", "closed-1", time=world.period.start)
        moved = execution("other", "closed-1", time=world.period.start)
        (conflict_id,) = await conflict(world, event, moved)
        async with invoiced(world) as books:
            names = {one.name: one for one in (await books.reconcile()).differences}
            assert names["conflict"].ids == (f"{SOURCE} closed-1",)
            taken = await resolve(world, conflict_id, "take")
            assert {
                (item.customer_id, item.posting_period, item.amount) for item in taken.items
            } == {
                ("early", str(world.period.next()), Decimal("-0.002")),
                ("other", str(world.period.next()), Decimal("0.002")),
            }
            found = await books.reconcile()
            names = {one.name: one for one in found.differences}
            assert found.clean
            assert names["conflict_resolved"].count == 1
            assert "conflict" not in names


async def ask(world: World, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {world.finance_key}"}
    url = f"{world.settings.rater_url}/v1/conflicts{path}"
    answer = await world.http.request(method, url, json=body, headers=headers)
    return answer.status_code, answer.json()


async def test_over_http(world: World) -> None:
    await world.add_customer("http", "byok")
    event = execution("http", "http-1", time=world.period.start, cost=0.1)
    (conflict_id,) = await conflict(world, event, changed(event, cost=0.25, output_tokens=1))
    status, shown = await ask(world, "GET", f"/{conflict_id}")
    assert (status, shown["state"], shown["event"]) == (200, "open", "http-1")
    assert shown["differences"] == [
        {"pointer": "/data/cost", "stored": "0.1", "other": "0.25"},
        {"pointer": "/data/output_tokens", "stored": "500", "other": "1"},
    ]
    assert shown["other"]["data"]["cost"] == 0.25
    status, listed = await ask(world, "GET", "?open=true")
    assert listed["conflicts"][0]["id"] == conflict_id
    decision = {"decision": "take", "reason": "of a test"}
    assert (await ask(world, "POST", f"/{conflict_id}/resolve", {"decision": "take"}))[0] == 422
    assert (await ask(world, "POST", "/0/resolve", decision))[0] == 404
    status, resolved = await ask(world, "POST", f"/{conflict_id}/resolve", decision)
    assert (status, resolved["state"], resolved["resolved"]) == (200, "taken", 1)
    assert resolved["resolved_by"].startswith("key:")
    assert (await ask(world, "POST", f"/{conflict_id}/resolve", decision))[0] == 409
    status, shown = await ask(world, "GET", f"/{conflict_id}")
    assert shown["stored"]["data"]["output_tokens"] == 1
    assert shown["other"]["data"]["output_tokens"] == 500


async def test_the_commands(world: World) -> None:
    await world.add_customer("typed", "byok")
    event = execution("typed", "typed-1", time=world.period.start, status="failed")
    other = execution("typed", "typed-1", time=world.period.start)
    (conflict_id,) = await conflict(world, event, other)
    shown = await tallybook(world, "conflicts", "show", str(conflict_id))
    assert (shown.status, shown.err) == (0, "")
    assert "/data/status" in shown.out
    assert (
        await tallybook(world, "conflicts", "resolve", str(conflict_id), "--why", "x")
    ).status == 2
    done = await tallybook(
        world, "conflicts", "resolve", str(conflict_id), "--take", "--why", "x", "--json"
    )
    assert (done.status, done.err) == (0, "")
    (item,) = msgspec.json.decode(done.out)["line_items"]
    assert (item["quantity"], item["amount"]) == ("1", "0.002")
    again = await tallybook(world, "conflicts", "resolve", str(conflict_id), "--keep", "--why", "x")
    assert (again.status, "resolved already (taken)" in again.err) == (1, True)
    listed = await tallybook(world, "conflicts", "list", "--open", "--json")
    assert conflict_id not in {one["id"] for one in msgspec.json.decode(listed.out)["conflicts"]}
