"""Notices that all their receivers have had for long are deleted, and no others."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.invoicer.alerts.silences import raise_silences
from services.invoicer.notifying.delivery import overview, pruning
from services.invoicer.notifying.delivery.pauses import MOST_ATTEMPTS
from services.invoicer.notifying.endpoints import store
from services.invoicer.notifying.outbox.putting import put
from shared.database import Role
from shared.rhythms import Rhythm
from tests.integration.harness.waiting import until
from tests.integration.harness.world import World
from tests.services.invoicer.notifying.telling import ACTOR, Telling, notice, telling
from tests.services.invoicer.notifying.transport.receiver import Receiver, running_receiver

DAYS = 90


async def prune(told: Telling, *, days: int = DAYS, **later: float) -> int:
    told.ahead += timedelta(**later)
    return await pruning.prune(told.world.engine("tallybook_invoicer"), told.clock(), days=days)


async def kept(world: World) -> list[str]:
    return [row["key"] for row in await world.fetch("SELECT key FROM outbox ORDER BY key")]


async def test_what_all_receivers_have_goes_after_so_many_days_and_not_before(
    told: Telling, receiver: Receiver
) -> None:
    await told.add(receiver.url)
    await told.add(receiver.url)
    await told.put(notice("a"), notice("b"))
    await told.go()
    assert await prune(told, days=DAYS, hours=24 * DAYS - 1) == 0
    await told.put(notice("later"))
    await told.go()
    assert await prune(told, days=0, hours=2) == 0
    assert await told.states() == ["delivered"] * 6
    assert await prune(told) == 2
    assert await kept(told.world) == ["later"]
    assert [one.notice_id for one in await told.listed()] == [notice("later").id] * 2
    assert await prune(told) == 0


async def test_the_days_count_from_when_the_last_receiver_had_it(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda place: 204 if place != 0 else 500
    await told.add(receiver.url)
    await told.put(notice())
    await told.go()
    await told.go(days=DAYS + 1)
    assert await told.states() == ["delivered"]
    assert await prune(told) == 0
    assert await prune(told, days=DAYS, hours=24 * DAYS + 1) == 1


async def test_what_was_given_up_stays_until_it_is_retried_and_taken(
    told: Telling, receiver: Receiver
) -> None:
    """And with it what others have of the same notice."""
    async with running_receiver() as broken:
        broken.answer = lambda _place: 500
        await told.add(receiver.url)
        endpoint = await told.add(broken.url)
        await told.put(notice())
        for _ in range(MOST_ATTEMPTS):
            await told.go(days=2)
        assert sorted(await told.states()) == ["dead", "delivered"]
        assert await prune(told, days=1, hours=24 * 400) == 0
        assert sorted(await told.states()) == ["dead", "delivered"]
        broken.answer = lambda _place: 204
        async with told.world.sessions("tallybook_invoicer") as session:
            assert await overview.retry_dead(session, endpoint.id, told.clock()) == 1
        await told.go()
    assert await prune(told, days=1, hours=23) == 0
    assert await prune(told, days=1, hours=2) == 1


async def test_what_still_waits_stays_and_what_nobody_was_to_be_told_goes(
    told: Telling, receiver: Receiver
) -> None:
    endpoint = await told.add(receiver.url, "invoice.paid")
    async with told.world.sessions("tallybook_invoicer") as session:
        await store.disable_endpoint(
            session, endpoint.id, why="it moves", actor=ACTOR, now=told.clock()
        )
    await told.put(notice("waits"), notice("nobody's", type="invoice.void"))
    await told.go()
    await told.put(notice("not handed out"))
    assert await prune(told, days=1, hours=24 * 400) == 1
    assert await kept(told.world) == ["not handed out", "waits"]


async def test_many_go_in_several_transactions(
    told: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_AT_ONCE", 2)
    await told.put(*(notice(f"inv_{place}") for place in range(5)))
    await told.go()
    async with told.world.connect("tallybook_invoicer") as connection:
        later = told.clock() + timedelta(days=1)
        assert await connection.fetchval("SELECT prune_notices($1, 3)", later) == 3
    await told.put(*(notice(f"more_{place}") for place in range(2)))
    await told.go()
    assert await prune(told, days=1, hours=25) == 4
    assert await kept(told.world) == []


async def test_a_silence_whose_notice_is_gone_is_not_told_of_again(told: Telling) -> None:
    since = datetime(2026, 10, 15, 12, tzinfo=UTC)
    silent = {"shop": Rhythm(last_received=since, longest_usual=timedelta(minutes=10))}

    async def raise_it() -> list[str]:
        async with told.world.sessions("tallybook_invoicer") as session:
            new = await raise_silences(session, silent, told.clock())
            await session.commit()
        return new

    assert await raise_it() == ["shop"]
    await told.go()
    assert await prune(told, days=1, hours=25) == 1
    assert await raise_it() == []
    assert await kept(told.world) == []


async def test_a_notice_that_comes_about_again_has_its_former_name(
    told: Telling, receiver: Receiver
) -> None:
    """So that a receiver that keeps what it has handled knows it."""
    await told.add(receiver.url)
    for _ in range(2):
        async with told.world.sessions("tallybook_invoicer") as session:
            assert await put(session, notice())
            await session.commit()
        await told.go()
        assert await prune(told, days=1, hours=25) == 1
    assert receiver.ids == [notice().id] * 2


async def test_the_invoicer_does_it_by_itself(world: World) -> None:
    async with telling(world) as told:
        await told.put(notice("old"), notice("new"))
        await told.go()
    await world.fetch(
        "UPDATE outbox SET fanned_out_at = now() - interval '4 days' WHERE key = 'old'"
    )
    await world.start("invoicer", notice_retention_days=3)

    async def is_gone() -> bool:
        return await kept(world) == ["new"]

    await until(is_gone)


@pytest.mark.parametrize("role", ["tallybook_ingest", "tallybook_rater"])
async def test_no_other_service_may_delete_them(world: World, role: Role) -> None:
    async with world.connect(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT prune_notices(now(), 1)")
