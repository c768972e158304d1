"""Dead letters: written to the log again once the cause is mended, or discarded; billed once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.invoicer.reconciliation import books
from services.rater.set_aside import dead_letters
from shared.broker import KafkaUnavailableError
from shared.errors import ConflictingStateError, InvalidInputError, NotFoundError
from shared.tables.rater import DeadLetter
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.events import SOURCE, Event, encoded, execution
from tests.integration.harness.ports import free_port
from tests.integration.harness.world import World


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world with a rater, in which each test has dead letters of its own."""
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start("rater")
        yield made


async def put(world: World, *values: bytes, **more: Any) -> list[int]:
    """Write records that are no events; gives the dead letters that they become."""
    places = await world.produce(values, **more)
    await world.caught_up()
    rows = await world.fetch("SELECT id, partition, log_offset FROM dead_letters ORDER BY id")
    ids = {(row["partition"], row["log_offset"]): row["id"] for row in rows}
    return [ids[place] for place in places]


def unfinished(customer: str, event_id: str, world: World) -> Event:
    """An execution that does not say how it ended."""
    event = execution(customer, event_id, time=world.period.start)
    return {**event, "data": {"execution_id": "x", "model": "m"}}


async def replay(world: World, letter_id: int) -> DeadLetter:
    async with world.sessions("tallybook_rater") as session:
        return await dead_letters.replay(
            session, world.settings, letter_id, actor="tests", now=datetime.now(UTC)
        )


async def discard(world: World, letter_id: int, reason: str) -> DeadLetter:
    async with world.sessions("tallybook_rater") as session:
        return await dead_letters.discard(
            session, letter_id, reason=reason, actor="tests", now=datetime.now(UTC)
        )


async def test_an_event_that_was_too_old_is_billed_once_however_often_it_is_replayed(
    new_world: OpenWorld,
) -> None:
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("late", "byok")
        strict = await world.start("rater", max_event_age_days=1)
        event = execution("late", "old-1", time=world.period.start)
        headers = [("content-type", b"application/cloudevents+json"), ("trace", b"abc")]
        (letter_id,) = await put(world, encoded(event), key=b"late", headers=headers)
        (row,) = await world.fetch("SELECT code, source, event_id, state FROM dead_letters")
        assert tuple(row) == ("too_old", SOURCE, "old-1", "open")

        await strict.stop()
        await world.start("rater")
        outcomes = await asyncio.gather(
            *(replay(world, letter_id) for _ in range(2)), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in outcomes) == [
            "ConflictingStateError",
            "DeadLetter",
        ]
        # As after a crash between the write and the note of it: the letter is open once more.
        await world.fetch(
            "UPDATE dead_letters SET state = 'open', closed_at = NULL, closed_by = NULL"
        )
        await replay(world, letter_id)
        await world.caught_up()

        assert await world.count("dead_letters") == 1
        totals = await world.totals()
        assert totals.quantities["late", "executions"] == 1
        assert totals.amounts["late", "executions"] == Decimal("0.002")
        records = await world.log_records()
        assert [record.key for record in records] == [b"late"] * 3
        assert {record.value for record in records} == {encoded(event)}
        marked = ("tallybook-replay-of", str(letter_id).encode())
        assert [list(record.headers) for record in records] == [
            headers,
            [*headers, marked],
            [*headers, marked],
        ]
        (batch,) = await world.fetch("SELECT sum(duplicates) AS duplicates FROM batches")
        assert batch["duplicates"] == 1
        assert await world.out_of_balance() == []


async def test_a_record_that_fails_again_is_a_new_dead_letter_that_says_so(world: World) -> None:
    event = unfinished("again", "again-1", world)
    (first,) = await put(world, encoded(event), key=b"again")
    closed = await replay(world, first)
    assert (closed.state, closed.closed_by) == ("replayed", "tests")
    await world.caught_up()
    found = await world.fetch(
        "SELECT id, state, headers, payload FROM dead_letters"
        " WHERE event_id = 'again-1' ORDER BY id"
    )
    assert [row["state"] for row in found] == ["replayed", "open"]
    second = found[1]
    assert msgspec.json.decode(second["headers"]) == [["tallybook-replay-of", str(first)]]
    assert second["payload"] == encoded(event)
    shown = await tallybook(world, "dead-letters", "show", str(second["id"]), "--json")
    assert msgspec.json.decode(shown.out)["replay_of"] == first


async def test_a_record_that_held_a_secret_cannot_be_replayed(world: World) -> None:
    secret = "sk-" + "ant-" + "a1b2c3d4e5f6"
    event = execution("leak", "leak-1", time=world.period.start, note=secret)
    (letter_id,) = await put(world, encoded(event), key=b"leak")
    (row,) = await world.fetch("SELECT * FROM dead_letters WHERE id = $1", letter_id)
    assert (row["payload"], row["source"], row["event_id"]) == (None, None, None)
    with pytest.raises(ConflictingStateError, match="held a secret"):
        await replay(world, letter_id)
    assert (await discard(world, letter_id, "the key was replaced")).state == "discarded"


async def test_without_kafka_a_dead_letter_stays_open(world: World) -> None:
    (letter_id,) = await put(world, b"kafka is away", key=b"away")
    settings = world.settings.model_copy(
        update={"kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"}
    )
    async with world.sessions("tallybook_rater") as session:
        with pytest.raises(KafkaUnavailableError):
            await dead_letters.replay(
                session, settings, letter_id, actor="tests", now=datetime.now(UTC)
            )
    assert (await replay(world, letter_id)).state == "replayed"


async def test_a_dead_letter_is_closed_once(world: World) -> None:
    replayed, discarded = await put(world, b"neither", b"nor", key=b"once")
    await replay(world, replayed)
    await discard(world, discarded, " of a test ")
    for letter_id, state in ((replayed, "replayed"), (discarded, "discarded")):
        with pytest.raises(ConflictingStateError, match=f"was {state} already, at .* by tests"):
            await replay(world, letter_id)
        with pytest.raises(ConflictingStateError, match=f"was {state} already"):
            await discard(world, letter_id, "again")
    with pytest.raises(NotFoundError, match="there is no dead letter 999999"):
        await replay(world, 999_999)
    with pytest.raises(InvalidInputError, match="say why"):
        await discard(world, discarded, "  ")
    entries = await world.fetch(
        "SELECT act, actor, after FROM audit_entries WHERE subject = ANY($1) ORDER BY id",
        [f"dead letter {replayed}", f"dead letter {discarded}"],
    )
    assert [(one["act"], one["actor"]) for one in entries] == [
        ("dead_letter.replay", "tests"),
        ("dead_letter.discard", "tests"),
    ]
    assert msgspec.json.decode(entries[1]["after"])["why"] == "of a test"


async def test_they_are_listed_by_month_and_state_and_counted_by_state(world: World) -> None:
    (letter_id,) = await put(world, b"listed", key=b"listed")
    async with world.sessions("tallybook_rater") as session:
        of_month = await dead_letters.list_dead_letters(session, period=world.period)
        now = await dead_letters.list_dead_letters(session, period=world.period.next())
        still_open = await dead_letters.list_dead_letters(session, state="open")
        with pytest.raises(InvalidInputError, match="there is no state"):
            await dead_letters.list_dead_letters(session, state="lost")
    assert of_month == []
    assert now[0].id == still_open[0].id == letter_id
    assert {one.state for one in still_open} == {"open"}
    rows = await world.fetch("SELECT state, count(*) FROM dead_letters GROUP BY 1")
    counts: dict[str, int] = dict(map(tuple, rows))
    async with world.engine("tallybook_invoicer").connect() as connection:
        aside = await books.read_set_aside(connection, world.settings.usage_topic)
        of_other_topic = await books.read_set_aside(connection, "another")
    assert aside.open_dead_letters[0] == str(letter_id)
    assert {**aside.closed_dead_letters, "open": len(aside.open_dead_letters)} == counts
    assert of_other_topic.closed_dead_letters == {}


async def ask(world: World, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {world.finance_key}"}
    url = f"{world.settings.rater_url}/v1/dead-letters{path}"
    answer = await world.http.request(method, url, json=body, headers=headers)
    return answer.status_code, answer.json()


async def test_over_http(world: World) -> None:
    first, second = await put(world, b"http-1", b"http-2", key=b"http")
    status, document = await ask(world, "POST", f"/{first}/replay")
    assert (status, document["state"]) == (200, "replayed")
    assert document["closed_by"].startswith("key:")
    assert (await ask(world, "POST", f"/{first}/replay"))[0] == 409
    assert (await ask(world, "POST", f"/{second}/discard", {"reason": ""}))[0] == 422
    assert (await ask(world, "POST", f"/{second}/discard", {}))[0] == 422
    status, document = await ask(world, "POST", f"/{second}/discard", {"reason": "of a test"})
    assert (status, document["state"], document["why"]) == (200, "discarded", "of a test")
    status, listed = await ask(world, "GET", "?state=discarded")
    assert listed["dead_letters"][0]["id"] == second
    assert (await ask(world, "GET", "?state=lost"))[0] == 422
    assert (await ask(world, "GET", "?period=2026-13"))[0] == 422
    assert (await ask(world, "POST", "/99999999999999999999/replay"))[0] == 422
    assert (await ask(world, "POST", "/0/replay"))[0] == 404


async def test_the_commands(world: World) -> None:
    first, second = await put(world, b"typed-1", b"typed-2", key=b"typed")
    done = await tallybook(world, "dead-letters", "replay", str(first), "0", "--json")
    assert (done.status, done.err) == (1, "")
    assert msgspec.json.decode(done.out)["dead_letters"] == [
        {"id": first, "replayed": True, "detail": None},
        {
            "id": 0,
            "replayed": False,
            "detail": "there is no dead letter 0; see: dead-letters list",
        },
    ]
    done = await tallybook(
        world, "dead-letters", "discard", str(second), "--why", "of a test", "--json"
    )
    assert (done.status, msgspec.json.decode(done.out)["state"]) == (0, "discarded")
    assert (await tallybook(world, "dead-letters", "discard", str(second))).status == 2
    listed = await tallybook(world, "dead-letters", "list", "--state", "discarded", "--json")
    assert msgspec.json.decode(listed.out)["dead_letters"][0]["id"] == second
