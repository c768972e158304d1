"""A second broker beside a Kafka of one test's own, so that a part of it can be away. I/O."""

from collections.abc import Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.settings import Settings
from tests.integration.harness.own_kafka import OwnKafka

FIRST, SECOND = 1, 2


class SecondBroker(OwnKafka):
    """A broker that belongs to the cluster of `first`, which runs already."""

    def __init__(self, directory: Path, first: OwnKafka) -> None:
        super().__init__(directory)
        self.data_directory.mkdir(parents=True)
        its = (first.data_directory / "meta.properties").read_text(encoding="utf-8").splitlines()
        [cluster] = [line for line in its if line.startswith("cluster.id=")]
        (self.data_directory / "meta.properties").write_text(
            f"version=1\nnode.id={SECOND}\n{cluster}\n", encoding="utf-8"
        )
        self.controller_port = first.controller_port

    def _properties(self) -> Mapping[str, str]:
        listener = f"PLAINTEXT://{self.address}"
        return {
            "process.roles": "broker",
            "node.id": str(SECOND),
            "controller.quorum.voters": f"{FIRST}@127.0.0.1:{self.controller_port}",
            "listeners": listener,
            "advertised.listeners": listener,
        }


async def create_shared_topic(settings: Settings) -> None:
    """Make the usage topic: even partitions on the first broker alone, odd ones on the second."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        brokers = {n: [SECOND if n % 2 else FIRST] for n in range(settings.usage_partitions)}
        await admin.create_topics([NewTopic(settings.usage_topic, -1, -1, brokers)])
    finally:
        await admin.close()
