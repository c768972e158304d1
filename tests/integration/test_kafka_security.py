"""Kafka over TLS, with a password: the whole way works, and a wrong password is said so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from shared.broker import KafkaUnavailableError, end_offsets
from tests.integration.conftest import OpenWorld
from tests.integration.harness import traffic
from tests.integration.harness.events import executions
from tests.integration.harness.secured_kafka import PASSWORD, SecuredKafka
from tests.integration.harness.world import World

WRONG = "not the password"


@pytest.fixture(scope="module")
async def kafka(data_directory: Path) -> AsyncIterator[SecuredKafka]:
    async with SecuredKafka(data_directory / "secured-kafka") as kafka:
        await kafka.start()
        yield kafka


@pytest.fixture
async def world(new_world: OpenWorld, kafka: SecuredKafka) -> AsyncIterator[World]:
    async with new_world(kafka=kafka.address) as world:
        world.settings = world.settings.model_copy(update=kafka.settings())
        await world.create_topic()
        yield world


async def test_events_go_all_the_way(world: World) -> None:
    await traffic.settle(world)
    await world.start("ingest")
    await world.start("rater")
    events = executions("ada", 300, period=world.period)
    assert (await world.send(events))["accepted"] == 300
    await world.produce([b"no event"])
    await world.caught_up()
    assert await world.count("events") == 300
    assert await world.count("dead_letters") == 1
    await world.start("invoicer")
    assert sum((await end_offsets(world.settings)).values()) >= 301
    for process in world.processes:
        assert PASSWORD not in process.log_text()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password_is_proved_by_each_mechanism(world: World, mechanism: str) -> None:
    settings = world.settings.model_copy(update={"kafka_sasl_mechanism": mechanism})
    assert await end_offsets(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"kafka_password": SecretStr(WRONG)},
        {"kafka_security_protocol": "PLAINTEXT"},
        {"kafka_ca_file": None},
    ],
)
async def test_who_is_not_let_in_is_told_what_to_check(
    world: World, changes: dict[str, Any]
) -> None:
    settings = world.settings.model_copy(update=changes)
    with pytest.raises(KafkaUnavailableError) as caught:
        await end_offsets(settings)
    assert "TALLYBOOK_KAFKA_SECURITY_PROTOCOL" in str(caught.value)
    assert WRONG not in str(caught.value)


async def test_a_wrong_password_is_in_the_log_and_ingest_stays_up(world: World) -> None:
    wrong = {"kafka_password": SecretStr(WRONG)}
    ingest = await world.start("ingest", wait=False, **wrong)
    rater = await world.start("rater", wait=False, **wrong)
    for process in (ingest, rater):
        await process.says("SaslAuthenticationFailed")
        assert process.status is None
        assert WRONG not in process.log_text()
    answer = await world.http.get(f"{ingest.url}/health/ready")
    assert (answer.status_code, answer.json()["waiting_for"]) == (503, ["kafka"])
    body = msgspec.json.encode(executions("ada", 1, period=world.period))
    refused = await world.post(body)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
