"""How far the rater says it is, while it works: all that it says is from one moment."""

from services.rater.progress import read_progress
from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import encoded, executions

_RECORDS = 1_500


async def test_what_is_handled_and_what_is_left_are_all_there_is_at_every_moment(
    new_world: OpenWorld,
) -> None:
    """Whoever waits until nothing is left may take the counts as they stand."""
    async with new_world() as world:
        await world.apply_catalogue()
        await world.add_customer("acme", "byok")
        events = executions("acme", _RECORDS, period=world.period)
        await world.produce(map(encoded, events))
        await world.start("rater", wait=False, rater_batch_records=2)
        handled: set[int] = set()
        left = _RECORDS
        while left:
            async with world.sessions("tallybook_rater") as session:
                progress = await read_progress(session, world.settings)
            left = progress["behind"]
            assert progress["records"] + left == _RECORDS
            assert progress["stored"] == progress["records"]
            handled.add(progress["records"])
        assert len(handled) > 2, "it was not looked at while it worked"
