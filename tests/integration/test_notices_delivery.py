"""What is told reaches its receivers, at least once and signed, whatever they answer."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from services.invoicer.notifying.delivery import overview, taking
from services.invoicer.notifying.delivery.pauses import DELAYS, MOST_ATTEMPTS
from services.invoicer.notifying.delivery.rounds import AT_ONCE, Rounds
from services.invoicer.notifying.endpoints import store
from services.invoicer.notifying.outbox.notices import TYPES
from services.invoicer.notifying.transport.answers import Answer
from shared.errors import ConflictingStateError, NotFoundError
from shared.moments import format_moment
from tests.integration.harness.waiting import until
from tests.services.invoicer.notifying.telling import ACTOR, MOMENT, Telling, notice
from tests.services.invoicer.notifying.transport.receiver import Receiver, running_receiver


async def test_each_type_arrives_once_and_signed(told: Telling, receiver: Receiver) -> None:
    endpoint = await told.add(receiver.url)
    assert endpoint.secret is not None
    put = [notice(f"key of {one}", type=one) for one in TYPES]
    await told.put(*put)
    for _ in range(3):
        await told.go()
    assert sorted(receiver.ids) == sorted(one.id for one in put)
    assert {one.document["type"] for one in receiver.received} == set(TYPES)
    for one in receiver.received:
        assert one.is_signed_by(endpoint.secret)
        assert not one.is_signed_by("whsec_" + "A" * 43 + "=")
        assert one.document["timestamp"] == format_moment(MOMENT)
        assert one.document["data"]["total"] == "15.00"
        assert one.headers["content-type"] == "application/json"
        assert one.target == "/hooks?from=tallybook"
    assert Counter(await told.states()) == {"delivered": len(TYPES)}


async def test_what_an_endpoint_is_not_told_of_does_not_go_there(
    told: Telling, receiver: Receiver
) -> None:
    await told.put(notice("before anybody was told"))
    await told.go()
    await told.add(receiver.url, "invoice.void", "invoice.paid")
    await told.put(notice("a"), notice("b", type="invoice.finalized"))
    await told.go()
    assert receiver.ids == [notice("a").id]


async def test_a_failing_receiver_is_tried_again_with_the_same_message(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda place: 204 if place == 2 else 500
    endpoint = await told.add(receiver.url)
    await told.put(notice())
    await told.go()
    await told.go(seconds=DELAYS[0] - 1)
    assert len(receiver.received) == 1
    assert (await told.listed())[0].last_answer == "HTTP 500"
    await told.go(seconds=DELAYS[0])
    await told.go(seconds=DELAYS[1] * 1.2)
    await told.go(days=1)
    assert receiver.ids == [notice().id] * 3
    assert len({one.body for one in receiver.received}) == 1
    assert endpoint.secret is not None
    last = receiver.received[-1]
    assert last.is_signed_by(endpoint.secret, now=int(last.headers["webhook-timestamp"]))
    assert [(one.state, one.attempts) for one in await told.listed()] == [("delivered", 3)]


async def test_a_lost_answer_makes_it_come_twice_under_one_id(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda place: "lost" if place == 0 else 204
    await told.add(receiver.url)
    await told.put(notice())
    await told.go()
    assert await told.states() == ["waiting"]
    await told.go(minutes=1)
    assert receiver.ids == [notice().id] * 2
    assert await told.states() == ["delivered"]


async def test_a_receiver_that_asks_for_time_gets_it(told: Telling, receiver: Receiver) -> None:
    receiver.answer = lambda place: (429, {"retry-after": "3600"}) if place == 0 else 204
    await told.add(receiver.url)
    await told.put(notice())
    await told.go()
    await told.go(minutes=59)
    assert len(receiver.received) == 1
    await told.go(minutes=2)
    assert await told.states() == ["delivered"]


async def test_one_that_is_gone_is_disabled_and_told_what_it_missed_once_enabled(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda place: 410 if place == 0 else 204
    endpoint = await told.add(receiver.url)
    await told.put(notice("a"))
    await told.go()
    await told.put(notice("b"))
    await told.go(days=3)
    assert len(receiver.received) == 1
    async with told.world.sessions("tallybook_invoicer") as session:
        (one,) = await store.list_endpoints(session)
        assert (one.state, one.disabled_because) == (
            "disabled",
            "HTTP 410: the receiver wants no more messages",
        )
    async with told.world.sessions("tallybook_invoicer") as session:
        await store.enable_endpoint(session, endpoint.id, actor=ACTOR, now=told.clock())
    await told.go()
    assert sorted(receiver.ids[1:]) == sorted([notice("a").id, notice("b").id])
    rows = await told.world.fetch(
        "SELECT act, actor FROM audit_entries WHERE subject = $1 ORDER BY id", endpoint.id
    )
    assert [tuple(row) for row in rows] == [
        ("webhook.add", ACTOR),
        ("webhook.disable", "invoicer"),
        ("webhook.enable", ACTOR),
    ]


async def test_what_was_tried_long_enough_is_dead_until_it_is_retried(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda _place: 503
    endpoint = await told.add(receiver.url)
    await told.put(notice("a"), notice("b"))
    for _ in range(MOST_ATTEMPTS + 2):
        await told.go(days=2)
    assert len(receiver.received) == 2 * MOST_ATTEMPTS
    assert await told.states() == ["dead", "dead"]
    receiver.answer = lambda _place: 204
    one, _ = await told.listed()
    async with told.world.sessions("tallybook_invoicer") as session:
        await overview.retry_delivery(session, one.id, told.clock())
    await told.go()
    assert await told.states() == ["delivered", "dead"]
    async with told.world.sessions("tallybook_invoicer") as session:
        with pytest.raises(ConflictingStateError, match="is delivered"):
            await overview.retry_delivery(session, one.id, told.clock())
        with pytest.raises(NotFoundError):
            await overview.retry_delivery(session, 10**12, told.clock())
        assert await overview.retry_dead(session, endpoint.id, told.clock()) == 1
    await told.go()
    assert await told.states() == ["delivered", "delivered"]


async def test_one_that_hangs_holds_up_no_other(told: Telling, receiver: Receiver) -> None:
    async with running_receiver() as slow:
        slow.answer = lambda _place: "hang"
        hangs = await told.add(slow.url)
        quick = await told.add(receiver.url)
        await told.put(*(notice(f"inv_{place}") for place in range(40)))
        await told.rounds.begin()
        await slow.has(1)

        async def all_come(count: int) -> bool:
            await told.rounds.begin()
            states = Counter((one.endpoint_id, one.state) for one in await told.listed())
            assert states[hangs.id, "delivered"] == 0
            return states[quick.id, "delivered"] == count

        await until(lambda: all_come(40))
        await told.put(notice("later"))
        await until(lambda: all_come(41))
        assert len(receiver.received) == 41


async def test_several_processes_take_each_message_once(told: Telling, receiver: Receiver) -> None:
    """Each has rounds of its own; what is put meanwhile is told too."""
    await told.add(receiver.url)
    engine = told.world.engine("tallybook_invoicer")
    await told.put(*(notice(f"first {place}") for place in range(60)))
    others = [Rounds(engine, told.courier, told.clock) for _ in range(3)]

    async def round_of(one: Rounds) -> None:
        await one.begin()
        await one.finish()

    await asyncio.gather(
        told.put(*(notice(f"second {place}") for place in range(60))),
        *(round_of(one) for one in (told.rounds, *others)),
    )
    await asyncio.gather(*(round_of(one) for one in (told.rounds, *others)))
    assert Counter(receiver.ids).most_common(1)[0][1] == 1
    assert len(receiver.received) == 120
    assert Counter(await told.states()) == {"delivered": 120}


async def test_what_a_lost_process_had_taken_is_taken_again(
    told: Telling, receiver: Receiver
) -> None:
    """And what it reports late does not undo what another has achieved."""
    endpoint = await told.add(receiver.url)
    await told.put(notice())
    engine = told.world.engine("tallybook_invoicer")
    await taking.fan_out(engine, told.clock())
    (late,) = await taking.claim(engine, endpoint.id, told.clock(), most=5)
    assert await taking.claim(engine, endpoint.id, told.clock(), most=5) == []
    await told.go()
    assert receiver.received == []
    await told.go(seconds=(taking.LEASE + timedelta(seconds=1)).total_seconds())
    assert receiver.ids == [notice().id]
    failed = Answer("HTTP 500")
    await taking.note(engine, late, failed, told.clock(), chance=0)
    assert await told.states() == ["delivered"]
    await told.go(days=3)
    assert len(receiver.received) == 1


async def test_removing_gives_up_what_waits_and_forgets_the_secret(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda _place: 500
    endpoint = await told.add(receiver.url)
    await told.put(notice())
    await told.go()
    async with told.world.sessions("tallybook_invoicer") as session:
        await store.remove_endpoint(session, endpoint.id, actor=ACTOR, now=told.clock())
        assert await store.list_endpoints(session) == []
    await told.put(notice("later"))
    await told.go(days=3)
    assert [(one.state, one.last_answer) for one in await told.listed()] == [
        ("dead", "the endpoint was removed")
    ]
    row = (await told.world.fetch("SELECT secret, former_secret FROM notice_endpoints"))[0]
    assert tuple(row) == (None, None)
    async with told.world.sessions("tallybook_invoicer") as session:
        (dead,) = await overview.list_deliveries(session, state="dead")
        with pytest.raises(ConflictingStateError, match="was removed"):
            await overview.retry_delivery(session, dead.id, told.clock())


async def test_for_a_day_after_a_rotation_both_secrets_sign(
    told: Telling, receiver: Receiver
) -> None:
    endpoint = await told.add(receiver.url)
    former = endpoint.secret
    async with told.world.sessions("tallybook_invoicer") as session:
        rotated = await store.rotate_secret(session, endpoint.id, actor=ACTOR, now=told.clock())
    assert former is not None
    assert rotated.secret not in (None, former)
    assert rotated.secret is not None
    await told.put(notice("a"))
    await told.go()
    await told.put(notice("b"))
    await told.go(hours=24, minutes=1)
    first, second = receiver.received
    assert first.is_signed_by(rotated.secret)
    assert first.is_signed_by(former)
    then = int(second.headers["webhook-timestamp"])
    assert second.is_signed_by(rotated.secret, now=then)
    assert not second.is_signed_by(former, now=then)


async def test_what_is_on_its_way_at_the_end_is_still_answered_and_nothing_more_is_taken(
    told: Telling, receiver: Receiver
) -> None:
    receiver.answer = lambda _place: "late"
    await told.add(receiver.url)
    await told.put(*(notice(f"inv_{place}") for place in range(AT_ONCE + 3)))
    async with Rounds(told.world.engine("tallybook_invoicer"), told.courier, told.clock) as rounds:
        await rounds.begin()
        await receiver.has(AT_ONCE)
        asyncio.get_running_loop().call_later(0.2, receiver.let_go.set)
    assert Counter(await told.states()) == {"delivered": AT_ONCE, "waiting": 3}
