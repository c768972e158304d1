"""Where is my event, and how is my source: the states of an event, and who may ask for them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from services.ingest.rejections import Rejections
from services.ingest.whereabouts import routes
from services.ingest.whereabouts.remembering import RememberedSources
from services.ingest.whereabouts.source_reading import read_sources
from services.ingest.whereabouts.sources import Source
from services.rater.corrections import voiding
from services.rater.set_aside import conflicts, dead_letters
from shared.api_keys import KeyRing
from shared.keys import FINANCE, READ_EVENTS, SEND_EVENTS
from shared.web import make_api, wait_until
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.events import (
    SOURCE,
    Event,
    changed,
    encoded,
    execution,
    executions,
)
from tests.integration.harness.world import World
from tests.services.invoicer.reconciling import invoiced


class Asker:
    """The routes on a world's database, and keys to ask them with."""

    def __init__(self, world: World, http: httpx.AsyncClient) -> None:
        self.world = world
        self._http = http

    async def get(self, path: str, key: str | None = None) -> httpx.Response:
        secret = self.world.producer_key if key is None else key
        return await self._http.get(path, headers={"authorization": f"Bearer {secret}"})

    async def new_key(self, **terms: Any) -> str:
        """Make a key, and wait until it is known."""
        _, key = await self.world.create_key(**{"scopes": [READ_EVENTS], **terms})

        async def known() -> bool:
            return (await self.get("/v1/sources", key)).status_code != 401

        await wait_until(known)
        return key

    async def event(
        self, event_id: str, source: str = SOURCE, key: str | None = None
    ) -> dict[str, Any]:
        path = f"/v1/events/{quote(source, safe='')}/{quote(event_id, safe='')}"
        answer = await self.get(path, key)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        assert (document["source"], document["id"]) == (source, event_id)
        return document


async def _asker(world: World, held: AsyncExitStack) -> Asker:
    async def readiness() -> Sequence[str]:
        return []

    keys = await held.enter_async_context(KeyRing(world.settings, "tallybook_ingest"))

    async def keys_are_read() -> bool:
        return keys.ready

    await wait_until(keys_are_read, first_delay=0.02)
    api = make_api("Ingest", "A test's.", readiness)
    api.include_router(routes.router)
    api.state.settings = world.settings
    api.state.keys = keys
    api.state.sources = RememberedSources(seconds=0)
    api.state.engine = world.engine("tallybook_ingest")
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://ingest.test")
    return Asker(world, await held.enter_async_context(client))


@pytest.fixture(scope="module")
async def asker(new_world: OpenWorld) -> AsyncIterator[Asker]:
    """Routes on a world with a rater, in which each test has customers of its own."""
    async with new_world() as world, AsyncExitStack() as held:
        await world.apply_catalogue()
        await world.start("rater")
        yield await _asker(world, held)


async def put(world: World, *events: Event) -> None:
    await world.produce(map(encoded, events), key=events[0]["subject"].encode())
    await world.caught_up()


async def test_what_nobody_knows_is_unknown(asker: Asker) -> None:
    found = await asker.event("never-sent")
    assert (found["state"], found["line_items"], found["invoice"]) == ("unknown", [], None)
    assert "on its way" in found["note"]
    assert found["customer"] is found["voided"] is None


async def test_an_event_waits_for_its_customer_then_for_a_contract_and_is_rated(
    asker: Asker,
) -> None:
    world = asker.world
    event = execution("slow", "a slow/one?", time=world.period.start, source="x/y z%")
    await put(world, event)
    found = await asker.event("a slow/one?", "x/y z%")
    assert (found["state"], found["waiting_for"]) == ("accepted", "customer")
    await world.add_customer("slow", None)
    found = await asker.event("a slow/one?", "x/y z%")
    assert (found["state"], found["waiting_for"]) == ("accepted", "contract")
    contract = await world.start_contract("slow", "byok")
    await world.caught_up()
    found = await asker.event("a slow/one?", "x/y z%")
    assert (found["state"], found["waiting_for"], found["note"]) == ("rated", None, None)
    assert (found["contract"], found["plan"], found["counted"]) == (contract.id, "byok@1", True)
    (item,) = found["line_items"]
    assert (item["charge"], item["quantity"], item["amount"], item["invoice"]) == (
        "executions",
        "1",
        "0.002",
        None,
    )
    assert found["handled_at"] >= found["received_at"]
    assert found["time"] == f"{world.period}-01T00:00:00Z"


async def test_the_line_items_are_those_of_its_batch_month_contract_and_charge(
    asker: Asker,
) -> None:
    world = asker.world
    await world.add_customer("pro", "byok_pro", starts_at=world.period.previous().start)
    await put(
        world,
        execution("pro", "pro-0", time=world.period.previous().start),
        execution("pro", "pro-1", time=world.period.start),
        execution("pro", "pro-2", time=world.period.start, status="failed"),
    )
    await put(world, execution("pro", "pro-3", time=world.period.start))
    (item,) = (await asker.event("pro-1"))["line_items"]
    assert (item["charge"], item["quantity"], item["usage_period"]) == (
        "executions",
        "1",
        str(world.period),
    )
    (later,) = (await asker.event("pro-3"))["line_items"]
    assert later["id"] != item["id"]
    failed = await asker.event("pro-2")
    assert (failed["state"], failed["counted"], failed["line_items"]) == ("rated", False, [])
    assert "no charge counts it" in failed["note"]


async def test_a_voided_event_says_who_when_and_why(asker: Asker) -> None:
    world = asker.world
    await world.add_customer("void", "byok")
    await put(world, execution("void", "void-1", time=world.period.start))
    async with world.sessions("tallybook_rater") as session:
        await voiding.void_event(
            session,
            source=SOURCE,
            event_id="void-1",
            reason="a test",
            actor="ann",
            now=datetime.now(UTC),
        )
    found = await asker.event("void-1")
    assert (found["voided"]["by"], found["voided"]["why"]) == ("ann", "a test")
    assert [item["quantity"] for item in found["line_items"]] == ["1", "-1"]
    assert "voided" in found["note"]


async def test_a_conflict_until_it_is_resolved(asker: Asker) -> None:
    world = asker.world
    await world.add_customer("clash", "byok")
    event = execution("clash", "clash-1", time=world.period.start)
    await put(world, event)
    await put(world, changed(event, output_tokens=1))
    found = await asker.event("clash-1")
    assert (found["state"], len(found["line_items"])) == ("conflict", 1)
    (one,) = found["conflicts"]
    async with world.sessions("tallybook_rater") as session:
        await conflicts.resolve(
            session, one["id"], "keep", reason="a test", actor="ann", now=datetime.now(UTC)
        )
    found = await asker.event("clash-1")
    assert (found["state"], found["conflicts"][0]["state"]) == ("rated", "kept")


async def test_a_dead_letter_until_it_is_replayed(asker: Asker) -> None:
    world = asker.world
    event = execution("dead", "dead-1", time=datetime.now(UTC) + timedelta(days=9))
    await put(world, event)
    found = await asker.event("dead-1")
    assert found["state"] == "dead_letter"
    (letter,) = found["dead_letters"]
    assert (letter["code"], letter["pointer"], letter["state"]) == (
        "in_the_future",
        "/time",
        "open",
    )
    rater = next(process for process in world.processes if process.name == "rater")
    await rater.stop()
    async with world.sessions("tallybook_rater") as session:
        await dead_letters.replay(
            session, world.settings, letter["id"], actor="ann", now=datetime.now(UTC)
        )
    found = await asker.event("dead-1")
    assert (found["state"], found["note"]) == (
        "accepted",
        "written to the log again, and not in the books yet",
    )
    await world.start("rater")
    await world.caught_up()
    found = await asker.event("dead-1")
    assert [one["state"] for one in found["dead_letters"]] == ["open", "replayed"]
    assert found["state"] == "dead_letter"


async def test_a_key_sees_its_own_source_and_customers_only(asker: Asker) -> None:
    world = asker.world
    await world.add_customer("mine", "byok")
    await put(world, execution("mine", "mine-1", time=world.period.start))
    await put(world, {**execution("mine", "mine-2", time=world.period.start), "data": 1})
    sees: dict[str, dict[str, Any]] = {
        "all": {},
        "its customer": {"customers": ["mine"]},
        "its source": {"sources": [SOURCE], "scopes": [SEND_EVENTS]},
        "finance": {"sources": ["another"], "customers": ["other"], "scopes": [FINANCE]},
    }
    for terms in sees.values():
        key = await asker.new_key(**terms)
        assert (await asker.event("mine-1", key=key))["state"] == "rated"
        assert (await asker.event("mine-2", key=key))["state"] == "dead_letter"
    others = await asker.new_key(customers=["other"])
    blank = await asker.event("mine-1", key=others)
    assert blank == {**await asker.event("never-sent", key=others), "id": "mine-1"}
    assert (await asker.event("mine-2", key=others))["state"] == "unknown"
    another = await asker.new_key(sources=["another"], scopes=[READ_EVENTS, SEND_EVENTS])
    answer = await asker.get(f"/v1/events/{quote(SOURCE, safe='')}/mine-1", another)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:tallybook:problem:forbidden")
    assert (await asker.get("/v1/events/a/b", "tbk_wrong")).status_code == 401
    writer = await asker.new_key(scopes=[SEND_EVENTS])
    assert (await asker.get("/v1/sources", writer)).status_code == 403


@pytest.mark.parametrize("path", ["agents/tests/1", "a/%FF", "a/%00", "a/"])
async def test_a_path_that_names_no_event_is_a_problem(asker: Asker, path: str) -> None:
    answer = await asker.get(f"/v1/events/{path}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_invoiced_event_names_its_invoice_and_line(new_world: OpenWorld) -> None:
    async with new_world() as world, AsyncExitStack() as held:
        await world.apply_catalogue()
        await world.add_customer("paid", "byok")
        await world.start("rater")
        await put(world, *executions("paid", 10, period=world.period))
        asker = await _asker(world, held)
        assert (await asker.event("paid-000003"))["state"] == "rated"
        async with invoiced(world):
            found = await asker.event("paid-000003")
        (invoice,) = await world.fetch("SELECT id FROM invoices WHERE customer_id = 'paid'")
        assert (found["state"], found["invoice"]) == ("invoiced", invoice["id"])
        assert [item["invoice_line"] for item in found["line_items"]] == [1]
        shown = await tallybook(world, "events", "show", SOURCE, "paid-000003")
        assert (shown.status, shown.err) == (0, "")
        assert invoice["id"] in shown.out


# sources ----------------------------------------------------------------------------------


async def _insert(world: World, source: str, *ages: timedelta, now: datetime) -> None:
    """Write events of these ages into the table, as if the rater had."""
    async with world.connect() as connection:
        await connection.executemany(
            "INSERT INTO events (source, id, type, customer_id, time, data, digest, partition,"
            " log_offset, received_at, batch_id) VALUES"
            " ($1, $2, 'job', 'acme', $3, '{}', '', 0, 0, $3, 1)",
            [(source, str(number), now - age) for number, age in enumerate(ages)],
        )


async def _read(world: World, now: datetime, **terms: Any) -> dict[str, Source]:
    async with world.sessions("tallybook_ingest") as session:
        return {one.name: one for one in await read_sources(session, now, **terms)}


async def test_what_arrived_and_where_a_source_fell_silent(world: World) -> None:
    now = datetime(2026, 10, 15, 12, tzinfo=UTC)
    minutes = [timedelta(minutes=number) for number in range(300) if not 100 < number < 130]
    await _insert(world, "steady", *minutes, now=now)
    await _insert(world, "quiet", *(timedelta(hours=2) + one for one in minutes), now=now)
    await _insert(world, "rare", timedelta(hours=3), timedelta(days=20), now=now)
    await _insert(world, "gone", timedelta(days=40), now=now)
    found = await _read(world, now)
    steady = found["steady"]
    assert (steady.hour, steady.day, steady.month) == (61, 271, 271)
    assert (steady.first, steady.last) == (now - timedelta(minutes=299), now)
    assert steady.rhythm.longest_usual == timedelta(minutes=10)
    (gap,) = steady.rhythm.gaps
    assert (gap.since, gap.until) == (
        now - timedelta(minutes=130),
        now - timedelta(minutes=100),
    )
    assert steady.rhythm.is_silent(now) is False
    assert found["quiet"].rhythm.is_silent(now) is True
    assert (found["rare"].month, found["rare"].rhythm.is_silent(now)) == (2, None)
    assert (found["gone"].month, found["gone"].last) == (0, None)
    assert (await _read(world, now, sources=frozenset({"rare"}))).keys() == {"rare"}
    assert await _read(world, now, customers=frozenset({"other"})) == {}
    of_customer = await _read(world, now, customers=frozenset({"acme"}))
    assert of_customer.keys() == {"steady", "quiet", "rare"}


async def test_what_is_usual_follows_the_sources_own_pace(world: World) -> None:
    now = datetime(2026, 10, 15, 12, tzinfo=UTC)
    await _insert(world, "hourly", *(timedelta(hours=one) for one in range(2, 100)), now=now)
    hourly = (await _read(world, now))["hourly"]
    assert hourly.rhythm.longest_usual == timedelta(hours=5)
    assert hourly.rhythm.is_silent(now) is False
    assert hourly.rhythm.is_silent(now + timedelta(hours=4)) is True
    assert hourly.rhythm.gaps == []


async def test_what_was_not_taken_is_counted_by_source_code_and_hour(world: World) -> None:
    counted = Rejections(world.engine("tallybook_ingest"))
    hour = datetime(2026, 10, 15, 12, tzinfo=UTC)
    secret = "sk-" + "ant-" + "a1b2c3d4e5f6"
    for source, code, at in (
        ("shop", "too_old", hour),
        ("shop", "too_old", hour + timedelta(minutes=59)),
        ("shop", "too_old", hour + timedelta(hours=1)),
        ("shop", "duplicate", hour),
        (None, "secret_in_payload", hour),
        (secret, "invalid_event", hour),
        ("a\0b", "invalid_event", hour),
        ("\ud800", "invalid_event", hour),
    ):
        counted.count(source, code, at)
    await counted.write()
    counted.count("shop", "too_old", hour)
    await counted.write()
    await counted.write()
    rows = await world.fetch("SELECT source, code, hour, events FROM rejections ORDER BY 1, 2, 3")
    assert [tuple(row) for row in rows] == [
        ("", "invalid_event", hour, 3),
        ("", "secret_in_payload", hour, 1),
        ("shop", "duplicate", hour, 1),
        ("shop", "too_old", hour, 3),
        ("shop", "too_old", hour + timedelta(hours=1), 1),
    ]
    found = await _read(world, hour + timedelta(days=1))
    assert (found["shop"].duplicates, found["shop"].rejected) == (1, {"too_old": 4})
    assert found[""].rejected == {"invalid_event": 3, "secret_in_payload": 1}


async def test_strangers_names_are_bounded(world: World) -> None:
    counted = Rejections(world.engine("tallybook_ingest"))
    day = datetime(2026, 10, 15, 12, tzinfo=UTC)
    for number in range(1_500):
        counted.count(f"stranger-{number}", "too_old", day)
    counted.count("stranger-1400", "too_old", day + timedelta(days=1))
    await counted.write()
    rows = await world.fetch(
        "SELECT count(DISTINCT source) AS names, sum(events) AS events,"
        " sum(events) FILTER (WHERE source = '') AS unnamed FROM rejections"
    )
    assert tuple(rows[0]) == (1_002, 1_501, 500)


async def test_what_could_not_be_written_is_written_the_next_time(world: World) -> None:
    await world.fetch("ALTER TABLE rejections RENAME TO away")
    counted = Rejections(world.engine("tallybook_ingest"))
    async with counted.writing():
        counted.count("shop", "too_old")
        with pytest.raises(Exception, match="rejections"):
            await counted.write()
        await world.fetch("ALTER TABLE away RENAME TO rejections")
        counted.count("shop", "too_old")
    (row,) = await world.fetch("SELECT source, events FROM rejections")
    assert tuple(row) == ("shop", 2)


async def test_sources_are_read_anew_only_after_a_while(world: World) -> None:
    now = datetime(2026, 10, 15, 12, tzinfo=UTC)
    remembered = RememberedSources(seconds=30)
    every, none = frozenset[str](), frozenset({"other"})

    async def names(after: float, customers: frozenset[str]) -> tuple[datetime, list[str]]:
        async with world.sessions("tallybook_ingest") as session:
            moment = now + timedelta(seconds=after)
            as_of, found = await remembered.get(session, moment, frozenset(), customers)
        return as_of, [one.name for one in found]

    assert await names(0, every) == (now, [])
    await _insert(world, "new", timedelta(hours=1), now=now)
    assert await names(29, every) == (now, [])
    assert await names(29, none) == (now + timedelta(seconds=29), [])
    assert await names(30, every) == (now + timedelta(seconds=30), ["new"])


async def test_sources_over_http_and_by_command(asker: Asker) -> None:
    world = asker.world
    now = datetime.now(UTC)
    source = "agents/listed"
    await world.add_customer("listed", "byok")
    event = execution("listed", "listed-1", time=now, source=source)
    await put(world, event, execution("listed", "listed-2", time=now, source=source))
    await put(world, changed(event, output_tokens=1))
    await put(world, execution("listed", "listed-3", time=now, source=source, input_tokens=-1))
    await world.produce([b"neither"])
    await world.caught_up()
    answer = await asker.get("/v1/sources")
    assert answer.status_code == 200
    document = answer.json()
    (one,) = [found for found in document["sources"] if found["source"] == source]
    assert one["events"] == {"hour": 2, "day": 2, "month": 2}
    assert one["conflicts"] == {"month": 1, "open": 1}
    assert one["dead_letters"] == {"invalid_data": 1}
    assert (one["silent"], one["longest_usual_silence_seconds"]) == (None, None)
    assert document["unnamed"]["dead_letters"] == {"invalid_json": 1}
    key = await asker.new_key(sources=["agents/none"])
    assert (await asker.get("/v1/sources", key)).json()["sources"] == []
    listed = await tallybook(world, "sources", "--json")
    assert (listed.status, listed.err) == (0, "")
    by_command = msgspec.json.decode(listed.out)
    assert source in {found["source"] for found in by_command["sources"]}
