"""The servers and worlds that the tests stand on: real, apart from each other, or an error."""

import asyncio
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.integration.conftest import OpenWorld
from tests.integration.harness.events import executions
from tests.integration.harness.processes import ProcessEndedError
from tests.integration.harness.servers import Servers, ServersError, running_servers
from tests.integration.harness.world import World


async def test_an_event_goes_from_http_to_a_line_item(world: World) -> None:
    await world.apply_catalogue()
    await world.add_customer("acme", "byok")
    await asyncio.gather(world.start("ingest"), world.start("rater"))
    answer = await world.send(executions("acme", 100, period=world.period))
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (100, 0, 0)
    await world.caught_up()
    totals = await world.totals()
    assert totals.events == {"acme": 100}
    assert str(totals.amounts["acme", "executions"]) == "0.200"


async def test_worlds_do_not_see_each_other(new_world: OpenWorld) -> None:
    async with new_world() as one, new_world() as other:
        await one.apply_catalogue()
        await one.produce([b"a record"])
        assert await one.count("plan_versions") > 0
        assert await other.count("plan_versions") == 0
        assert await other.log_records() == []
        assert one.producer_key != other.producer_key


async def test_a_world_leaves_nothing_behind(new_world: OpenWorld, stack: Servers) -> None:
    async with new_world() as world:
        pids = [(await world.start("ingest")).pid, (await world.start_stripe()).pid]
        database = world.settings.postgres().rpartition("/")[2]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    connection = await asyncpg.connect(stack.database_url)
    try:
        query = "SELECT count(*) FROM pg_database WHERE datname = $1"
        assert await connection.fetchval(query, database) == 0
    finally:
        await connection.close()


async def test_a_process_that_does_not_start_is_an_error_with_its_log(world: World) -> None:
    with pytest.raises(ProcessEndedError, match="TALLYBOOK_MAX_REQUEST_BYTES"):
        await world.start("ingest", max_request_bytes=-1)


async def test_postgres_keeps_what_was_committed_through_its_restart(world: World) -> None:
    await world.apply_catalogue()
    plans = await world.count("plan_versions")
    async with world.connect() as connection:
        await world.restart_postgres()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
    assert await world.count("plan_versions") == plans > 0


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TALLYBOOK_TEST_STACK": "docker"}, "use embedded, containers or urls"),
        ({"TALLYBOOK_TEST_STACK": "urls"}, "needs TALLYBOOK_DATABASE_URL"),
        (
            {
                "TALLYBOOK_TEST_STACK": "urls",
                "TALLYBOOK_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            },
            "needs TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS",
        ),
        (
            {
                "TALLYBOOK_TEST_STACK": "urls",
                "TALLYBOOK_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
                "TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            },
            "Postgres does not answer",
        ),
    ],
)
async def test_servers_that_cannot_be_had_are_an_error_that_says_why(
    environment: dict[str, str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ServersError, match=reason):
        async with running_servers(environment, tmp_path):
            pass


async def test_a_kafka_that_cannot_be_had_is_an_error_too(stack: Servers, tmp_path: Path) -> None:
    environment = {
        "TALLYBOOK_TEST_STACK": "urls",
        "TALLYBOOK_DATABASE_URL": stack.database_url,
        "TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }
    with pytest.raises(ServersError, match="Kafka does not answer"):
        async with running_servers(environment, tmp_path):
            pass


async def test_servers_named_in_the_environment_are_used_as_they_are(
    stack: Servers, tmp_path: Path
) -> None:
    environment = {
        "TALLYBOOK_TEST_STACK": "urls",
        "TALLYBOOK_DATABASE_URL": stack.database_url,
        "TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS": stack.kafka,
    }
    async with running_servers(environment, tmp_path) as named:
        assert (named.database_url, named.kafka) == (stack.database_url, stack.kafka)


async def test_named_servers_take_postgres_away_for_a_moment(
    world: World, stack: Servers, tmp_path: Path
) -> None:
    environment = {
        "TALLYBOOK_TEST_STACK": "urls",
        "TALLYBOOK_DATABASE_URL": stack.database_url,
        "TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS": stack.kafka,
    }
    async with running_servers(environment, tmp_path) as named, world.connect() as connection:
        await named.restart_postgres(world.settings.postgres().rpartition("/")[2])
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
    assert await world.count("plan_versions") == 0
