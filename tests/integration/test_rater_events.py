"""What becomes of each record of the log: billed, waiting, set aside; and under which contract."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.events import STRUCTURED
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import (
    SOURCE,
    Event,
    changed,
    encoded,
    execution,
    executions,
    moment,
)
from tests.integration.harness.world import World

FEE = Decimal("0.002")  # of byok
SECRET = "sk-ant-api03-" + "Zm9yLXRlc3RzLW9ubHk" * 3


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.start("rater")
        yield made


async def _put(world: World, *events: Event) -> list[tuple[int, int]]:
    """Write events to one partition, so that their order is given."""
    return await world.produce(map(encoded, events), partition=0)


async def _stored(world: World, customer: str) -> list[tuple[str, str | None]]:
    rows = await world.fetch(
        "SELECT e.id, c.plan_version_id AS plan FROM events e"
        " LEFT JOIN contracts c ON c.id = e.contract_id WHERE e.customer_id = $1 ORDER BY e.id",
        customer,
    )
    return [(row["id"], row["plan"]) for row in rows]


async def _amount(world: World, customer: str, charge: str = "executions") -> Decimal:
    return (await world.totals()).amounts.get((customer, charge), Decimal(0))


async def _dead_letters(world: World, places: list[tuple[int, int]]) -> list[Any]:
    rows = await world.fetch("SELECT * FROM dead_letters ORDER BY partition, log_offset")
    found = {(row["partition"], row["log_offset"]): row for row in rows}
    return [found.get(place) for place in places]


async def test_a_failed_execution_is_stored_and_never_billed(world: World) -> None:
    await world.add_customer("fails", "byok")
    await _put(world, *executions("fails", 20, period=world.period, failed_every=4))
    await world.caught_up()
    totals = await world.totals()
    assert totals.events["fails"] == 20
    assert totals.amounts["fails", "executions"] == 15 * FEE
    assert totals.metered["fails", "input_tokens"] == 15_000


async def test_a_record_sent_again_is_a_duplicate_and_changes_nothing(world: World) -> None:
    await world.add_customer("again", "byok")
    events = executions("again", 50, period=world.period)
    await _put(world, *events)
    await world.caught_up()
    before = await world.totals()
    log = await world.fetch("SELECT coalesce(sum(duplicates), 0) AS count FROM batches")
    await _put(world, *events, *events[:10])
    await world.caught_up()
    assert await world.totals() == before
    after = await world.fetch("SELECT sum(duplicates) AS count FROM batches")
    assert after[0]["count"] - log[0]["count"] == 60


async def test_other_content_under_the_same_id_is_kept_and_never_billed(world: World) -> None:
    await world.add_customer("clash", "byok")
    event = execution("clash", "clash-1", time=world.period.start, status="failed")
    await _put(world, event)
    await world.caught_up()
    other = changed(event, status="succeeded")
    another = {**event, "subject": "someone-else"}
    await _put(world, other, another, event)
    await world.caught_up()
    assert await _amount(world, "clash") == 0
    first = await world.fetch("SELECT data->>'status' AS s FROM events WHERE id = 'clash-1'")
    assert [row["s"] for row in first] == ["failed"]
    kept = await world.fetch(
        "SELECT customer_id, data->>'status' AS s FROM conflicts"
        " WHERE source = $1 AND event_id = 'clash-1' ORDER BY id",
        SOURCE,
    )
    assert [(row["customer_id"], row["s"]) for row in kept] == [
        ("clash", "succeeded"),
        ("someone-else", "failed"),
    ]


async def test_a_conflict_in_one_batch_of_records_is_found_too(world: World) -> None:
    await world.add_customer("clash-now", "byok")
    event = execution("clash-now", "clash-2", time=world.period.start)
    await _put(world, event, changed(event, model="claude-opus-4.1"), event)
    await world.caught_up()
    assert await _amount(world, "clash-now") == FEE
    kept = await world.fetch("SELECT FROM conflicts WHERE event_id = 'clash-2'")
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"garbage", "invalid_json"),
        (None, "invalid_json"),
        (b"", "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b"[]", "invalid_event"),
        (b'{"specversion": "1.0"}', "invalid_event"),
        (b"[" * 5000, "invalid_event"),
    ],
)
async def test_a_record_that_is_no_event_is_a_dead_letter_with_its_place(
    world: World, value: bytes | None, code: str
) -> None:
    places = await world.produce([value], key=b"whoever", headers=[("origin", b"elsewhere")])
    await world.caught_up()
    (letter,) = await _dead_letters(world, places)
    assert letter is not None
    assert (letter["code"], letter["payload"], letter["key"]) == (code, value, b"whoever")
    assert letter["detail"]
    assert letter["topic"] == world.settings.usage_topic
    assert "elsewhere" in letter["headers"]
    assert letter["state"] == "open"


async def test_garbage_among_events_stops_nothing(world: World) -> None:
    await world.add_customer("among", "byok")
    events = executions("among", 30, period=world.period)
    values: list[bytes | None] = [encoded(event) for event in events]
    mixed = [*values[:10], b"{", *values[10:20], None, *values[20:]]
    places = await world.produce(mixed, key=b"among")
    await world.caught_up()
    assert await _amount(world, "among") == 30 * FEE
    letters = await _dead_letters(world, places)
    assert [place for place, letter in enumerate(letters) if letter is not None] == [10, 21]


async def test_what_only_looks_like_ingest_s_stops_and_displaces_nothing(world: World) -> None:
    """Of records that are read all at once one holds two events, and one no time that can be."""
    await world.add_customer("beside", "byok")
    good = [encoded(one) for one in executions("beside", 12, period=world.period)]
    early = execution("beside", "early", time=world.period.start)
    early["time"] = "0001-01-01T00:00:00+01:00"
    places: list[tuple[int, int]] = []
    for value in (good[0] + b"],[" + good[1], encoded(early)):
        values = [value, *good[2:]]
        places += await world.produce(values, partition=0, headers=[("content-type", STRUCTURED)])
    await world.caught_up()
    assert await _amount(world, "beside") == 10 * FEE
    letters = await _dead_letters(world, places)
    found = {place: one["code"] for place, one in enumerate(letters) if one is not None}
    assert found == {0: "invalid_json", 11: "too_old"}


async def test_an_invalid_execution_is_a_dead_letter_with_a_pointer(world: World) -> None:
    event = execution("bad", "bad-tokens", time=world.period.start, output_tokens="many")
    places = await _put(world, event)
    await world.caught_up()
    (letter,) = await _dead_letters(world, places)
    assert (letter["code"], letter["pointer"]) == ("invalid_data", "/data/output_tokens")


async def test_of_a_record_with_a_secret_only_the_reason_is_kept(world: World) -> None:
    event = execution("secret", "secret-1", time=world.period.start, note=SECRET)
    places = await world.produce([encoded(event), SECRET.encode()], key=SECRET.encode())
    await world.caught_up()
    for letter in await _dead_letters(world, places):
        assert letter["code"] in ("secret_in_payload", "invalid_json")
        assert (letter["payload"], letter["key"], letter["headers"]) == (None, None, "[]")


async def test_events_of_an_unknown_customer_wait_and_are_rated_once_there_is_one(
    world: World,
) -> None:
    await _put(world, *executions("newcomer", 40, period=world.period, failed_every=10))
    await world.caught_up()
    totals = await world.totals()
    assert totals.events["newcomer"] == 40
    assert ("newcomer", "executions") not in totals.amounts
    assert {plan for _, plan in await _stored(world, "newcomer")} == {None}

    await world.add_customer("newcomer", None)
    await world.caught_up()
    assert await _amount(world, "newcomer") == 0

    await world.start_contract("newcomer", "byok")
    await world.caught_up()
    assert await _amount(world, "newcomer") == 36 * FEE
    assert {plan for _, plan in await _stored(world, "newcomer")} == {"byok@1"}


async def test_an_event_outside_every_contract_waits(world: World) -> None:
    await world.add_customer("gap", "byok", moment(world.period, days=10))
    before = execution("gap", "gap-before", time=moment(world.period, days=9))
    within = execution("gap", "gap-within", time=moment(world.period, days=11))
    await _put(world, before, within)
    await world.caught_up()
    assert await _stored(world, "gap") == [("gap-before", None), ("gap-within", "byok@1")]
    assert await _amount(world, "gap") == FEE


async def test_a_contract_is_half_open(world: World) -> None:
    start, end = moment(world.period, days=5), moment(world.period, days=15)
    await world.add_customer("edges", "byok", start)
    await world.end_contract("edges", end)
    instant = timedelta(microseconds=1)
    await _put(
        world,
        execution("edges", "1-just-before", time=start - instant),
        execution("edges", "2-at-start", time=start),
        execution("edges", "3-last", time=end - instant),
        execution("edges", "4-at-end", time=end),
    )
    await world.caught_up()
    assert await _stored(world, "edges") == [
        ("1-just-before", None),
        ("2-at-start", "byok@1"),
        ("3-last", "byok@1"),
        ("4-at-end", None),
    ]
    assert await _amount(world, "edges") == 2 * FEE


async def test_the_first_and_last_instant_of_a_month_are_that_month(world: World) -> None:
    await world.add_customer("months", "byok", world.period.previous().start)
    instant = timedelta(microseconds=1)
    await _put(
        world,
        execution("months", "m-1", time=world.period.start - instant),
        execution("months", "m-2", time=world.period.start),
        execution("months", "m-3", time=world.period.end - instant),
    )
    await world.caught_up()
    assert await _amount(world, "months") == 2 * FEE
    earlier = await world.totals(world.period.previous())
    assert earlier.amounts["months", "executions"] == FEE


async def test_a_switch_in_mid_month_moves_the_usage_after_it(world: World) -> None:
    at = moment(world.period, days=world.period.days // 2)
    await world.add_customer("switches", "basic")
    events = executions("switches", 100, period=world.period)
    await _put(world, *events[:90])
    await world.caught_up()
    assert await _amount(world, "switches") == 90 * Decimal("0.012")

    await world.switch_contract("switches", "byok_pro", at)
    await _put(world, *events[90:])
    await world.caught_up()
    plans = [plan for _, plan in await _stored(world, "switches")]
    before = sum(event["time"] < at.isoformat() for event in events)
    assert plans == ["basic@1"] * before + ["byok_pro@1"] * (100 - before)
    amount = before * Decimal("0.012") + (100 - before) * Decimal("0.001")
    assert await _amount(world, "switches") == amount
    days = world.period.days - world.period.days // 2
    fee = (Decimal(19) * days / world.period.days).quantize(Decimal("1e-12"))
    assert await _amount(world, "switches", "subscription") == fee
    assert await world.out_of_balance() == []


async def test_what_a_switch_moved_is_undone_by_adjustments_and_nothing_was_touched(
    world: World,
) -> None:
    await world.add_customer("moved", "basic")
    await _put(world, *executions("moved", 10, period=world.period))
    await world.caught_up()
    query = (
        "SELECT id, contract_id, kind, quantity, corrects FROM line_items"
        " WHERE customer_id = 'moved' AND charge = 'executions' AND usage_period = $1 ORDER BY id"
    )
    before = await world.fetch(query, str(world.period))
    await world.switch_contract("moved", "solo", world.period.start + timedelta(seconds=1))
    after = await world.fetch(query, str(world.period))
    assert after[: len(before)] == before
    undone, moved = sorted(after[len(before) :], key=lambda row: row["quantity"])
    assert (undone["kind"], undone["quantity"], undone["corrects"]) == (
        "adjustment",
        -9,
        before[0]["id"],
    )
    assert (moved["kind"], moved["quantity"], moved["corrects"]) == ("usage", 9, None)
    assert undone["contract_id"] == before[0]["contract_id"] != moved["contract_id"]


async def test_an_ended_contract_gives_its_later_usage_back(world: World) -> None:
    await world.add_customer("leaves", "byok")
    events = executions("leaves", 10, period=world.period)
    await _put(world, *events)
    await world.caught_up()
    await world.end_contract("leaves", moment(world.period, days=10))
    kept = sum(e["time"] < moment(world.period, days=10).isoformat() for e in events)
    assert 0 < kept < 10
    assert await _amount(world, "leaves") == kept * FEE
    assert [plan for _, plan in await _stored(world, "leaves")].count(None) == 10 - kept


async def test_an_event_of_another_type_is_kept_and_costs_nothing(world: World) -> None:
    await world.add_customer("other", "byok")
    event = {**execution("other", "other-1", time=world.period.start), "type": "com.example.else"}
    await _put(world, event)
    await world.caught_up()
    assert await _stored(world, "other") == [("other-1", "byok@1")]
    assert await _amount(world, "other") == 0


async def test_records_without_a_key_on_any_partition_are_taken(world: World) -> None:
    await world.add_customer("keyless", "byok")
    events = executions("keyless", 9, period=world.period)
    for number, event in enumerate(events):
        await world.produce([encoded(event)], partition=number % 3)
    await world.caught_up()
    assert await _amount(world, "keyless") == 9 * FEE


async def test_every_record_of_the_log_is_accounted_for(world: World) -> None:
    """Runs last in this file: records = events + duplicates + conflicts + dead letters (I1)."""
    await world.caught_up()
    (row,) = await world.fetch(
        "SELECT sum(records) AS records, sum(stored) AS stored, sum(conflicts) AS conflicts,"
        " sum(dead_letters) AS dead_letters FROM batches"
    )
    assert row["records"] == len(await world.log_records())
    assert row["stored"] == await world.count("events")
    assert row["conflicts"] == await world.count("conflicts")
    assert row["dead_letters"] == await world.count("dead_letters")
    assert await world.out_of_balance() == []


async def test_the_metrics_tell_how_far_behind_the_rater_is(world: World) -> None:
    """Its offsets are locked, so that it can handle nothing; then they are let go."""
    await world.caught_up()
    before = await world.metrics("rater")
    async with world.connect() as connection, connection.transaction():
        await connection.execute("LOCK TABLE offsets IN EXCLUSIVE MODE")
        events = executions("measured", 30, period=world.period)
        await _put(world, *events, events[0])
        await _behind(world, 31)
    await world.caught_up()
    await _behind(world, 0)
    after = await world.metrics("rater")

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('tallybook_rater_records_total{outcome="stored"}') == 30
    assert grown('tallybook_rater_records_total{outcome="duplicate"}') == 1
    assert grown("tallybook_rater_batch_seconds_count") >= 1
    assert grown("tallybook_rater_delay_seconds_count") == grown(
        "tallybook_rater_batch_seconds_count"
    )
    assert grown("tallybook_rater_delay_seconds_sum") >= grown("tallybook_rater_batch_seconds_sum")


async def _behind(world: World, records: int) -> None:
    async with asyncio.timeout(30):
        while True:
            metrics = await world.metrics("rater")
            if metrics["tallybook_rater_behind_records"] == records:
                return
            await asyncio.sleep(0.1)
