"""Whatever producers send, and whatever goes wrong with it, no log line shows any of it."""

import msgspec

from tests.integration.harness.events import changed, execution, moment
from tests.integration.harness.world import World

MARK = "marked-value-3141"


async def test_no_bad_event_leaves_its_values_in_a_log(world: World) -> None:
    await world.apply_catalogue()
    await world.add_customer("ada", "byok")
    ingest = await world.start("ingest", log_json=True)
    rater = await world.start("rater")
    time = moment(world.period, days=1)
    good = execution("ada", "one", time=time, model=f"claude-{MARK}")
    bad = [
        execution("ada", "two", time=time, model=MARK, input_tokens=MARK),
        execution("ada", "three", time=time, execution_id=f"sk-ant-api03-{MARK}" + "a" * 90),
        execution("ada", "four", time=time, status=MARK),
    ]
    answer = await world.send([good, *bad])
    assert (answer["accepted"], answer["rejected"]) == (1, 3)
    assert (await world.post(f'[{{"id": "{MARK}"'.encode())).status_code == 400
    await world.send([changed(good, output_tokens=7, key_label=MARK)])
    await world.send([execution("nobody", "five", time=time, key_label=MARK)])
    await world.produce([MARK.encode(), msgspec.json.encode(bad[0]), None], key=MARK.encode())
    await world.caught_up()
    assert await world.count("conflicts") == 1
    assert await world.count("dead_letters") == 3

    # An error whose text quotes the row: Postgres refuses what it is told to refuse.
    await world.fetch("ALTER TABLE events ADD CHECK (data->>'key_label' <> 'refused') NOT VALID")
    refused = execution("ada", "six", time=time, key_label="refused", model=MARK)
    await world.send([refused])
    await rater.says("CheckViolation")
    for process in (ingest, rater):
        assert MARK not in process.log.read_text("utf-8", errors="replace"), process.name
