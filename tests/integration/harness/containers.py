"""Postgres and Kafka in containers, with the images of docker-compose.yml. I/O: Docker.

Both ports are chosen beforehand: a container that is restarted would get another one, and
Kafka must know its own to advertise it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import yaml
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from shared.web import wait_until
from tests.integration.harness.ports import free_port
from tests.integration.harness.servers import ServersError

_COMPOSE_FILE = Path(__file__).parents[3] / "docker-compose.yml"
_KAFKA_SETTINGS = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_LISTENERS": "CLIENT://0.0.0.0:9092,BROKER://0.0.0.0:9094,CONTROLLER://0.0.0.0:9093",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
        "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"
    ),
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_MESSAGE_MAX_BYTES": "2000000",
}


class ContainerServers:
    """Both containers, running."""

    def __init__(self, database: PostgresContainer, database_url: str, kafka: str) -> None:
        self._database = database
        self.database_url = database_url
        self.kafka = kafka

    async def restart_postgres(self, database: str) -> None:
        """Kill the container's Postgres and start it again."""
        container = self._database.get_wrapped_container()
        await asyncio.to_thread(container.kill)
        await asyncio.to_thread(container.start)
        async with asyncio.timeout(60):
            await wait_until(lambda: _answers(self.database_url), longest=0.5)


@contextlib.asynccontextmanager
async def running_containers() -> AsyncIterator[ContainerServers]:
    """Start both containers, stop and remove them afterwards.

    Raises `ServersError` where there is no Docker engine or an image does not start.
    """
    try:
        kafka, kafka_address = kafka_container(image_of("kafka"))
        database, database_port = postgres_container(image_of("postgres"))
    except (DockerException, OSError) as error:
        raise ServersError(f"there is no Docker engine to run containers on: {error}") from None
    async with contextlib.AsyncExitStack() as held:
        for container in (kafka, database):
            held.push_async_callback(asyncio.to_thread, container.stop)
        try:
            await asyncio.gather(asyncio.to_thread(kafka.start), asyncio.to_thread(database.start))
        except (DockerException, OSError, TimeoutError) as error:
            raise ServersError(f"a container does not start: {error}") from None
        host = database.get_container_host_ip()
        url = f"postgresql://postgres:{database.password}@{host}:{database_port}/postgres"
        yield ContainerServers(database, url, kafka_address)


def image_of(service: str, compose_file: Path = _COMPOSE_FILE) -> str:
    """Give the image of a service of docker-compose.yml."""
    try:
        document: Any = yaml.safe_load(compose_file.read_text(encoding="utf-8"))
        return str(document["services"][service]["image"])
    except (OSError, KeyError, TypeError) as error:
        raise ServersError(f"{compose_file} names no image for {service}: {error!r}") from None


def kafka_container(image: str) -> tuple[DockerContainer, str]:
    """Prepare Kafka as one KRaft node; gives it and the address that it advertises.

    Testcontainers' own Kafka is for another vendor's image, whose scripts this one lacks.
    """
    port = free_port()
    container = DockerContainer(image)
    address = f"{container.get_docker_client().host()}:{port}"
    advertised = f"CLIENT://{address},BROKER://localhost:9094"
    container.with_envs(**_KAFKA_SETTINGS, KAFKA_ADVERTISED_LISTENERS=advertised)
    container.with_bind_ports(9092, port)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(120))
    return container, address


def postgres_container(image: str) -> tuple[PostgresContainer, int]:
    """Prepare Postgres with a superuser `postgres`; gives it and its port on the host."""
    port = free_port()
    container = PostgresContainer(
        image, username="postgres", password="only-for-tests", dbname="postgres", driver=None
    )
    container.with_bind_ports(5432, port)
    return container, port


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True
