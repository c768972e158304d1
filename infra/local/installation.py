"""All of Tallybook on one data directory: the embedded stack, its set-up, the three services."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlmodel import select

from infra.local.credentials import Credentials
from infra.local.stack import EmbeddedStack, Progress, answers
from infra.local.supervisor import Program
from infra.local.webhooks import webhook_secret
from infra.migrations.migrate import migrate
from services.ingest.keys import create_key
from shared.api_keys import secret_hash
from shared.audit import login_name
from shared.broker import create_topic
from shared.database import open_engine
from shared.errors import WrongUseError
from shared.keys import FINANCE, READ_EVENTS, SEND_EVENTS
from shared.settings import SANDBOX_STRIPE_KEY, Settings
from shared.tables.ingest import ApiKey

SERVICES = ("ingest", "rater", "invoicer")

_KEYS = {"producer_key": [SEND_EVENTS, READ_EVENTS], "finance_key": [FINANCE]}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where all parts answer, and the keys made for a first use."""

    ingest_url: str
    rater_url: str
    invoicer_url: str
    kafka: str
    database_url: str
    stripe_url: str
    producer_key: str
    finance_key: str


class Installation:
    """Starts everything and stops it; use it as an async context manager.

    The next installation on the same directory goes on where this one stopped. `minimums`, where
    given, are the least totals that are sent, as the setting says them.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port_base: int | None = None,
        services: Sequence[str] = SERVICES,
        minimums: str | None = None,
        on_progress: Progress = lambda _text: None,
    ) -> None:
        self._services = services
        self._minimums = minimums
        self.stack = EmbeddedStack(directory, port_base=port_base, on_progress=on_progress)
        self._on_progress = on_progress
        self._settings: Settings | None = None
        self._addresses: Addresses | None = None

    @property
    def settings(self) -> Settings:
        """The settings with which commands reach this installation."""
        assert self._settings is not None, "the installation is not started"
        return self._settings

    @property
    def addresses(self) -> Addresses:
        """Where its parts answer."""
        assert self._addresses is not None, "the installation is not started"
        return self._addresses

    @property
    def directory(self) -> Path:
        """The data directory, as an absolute path."""
        return self.stack.directory

    async def __aenter__(self) -> "Installation":
        await self.stack.__aenter__()
        try:
            await self._start()
        except BaseException:
            await self.stack.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stack.__aexit__(kind, error, trace)

    async def _start(self) -> None:
        settings = self._make_settings()
        await migrate(settings)
        self._on_progress("the database is migrated")
        await create_topic(settings)
        credentials = Credentials(self.directory)
        engine = open_engine(settings, "tallybook_ingest")
        try:
            keys = {
                name: await _key(engine, credentials, name, scopes)
                for name, scopes in _KEYS.items()
            }
        finally:
            await engine.dispose()
        urls = self.stack.urls
        secrets = dict(keys)
        if "invoicer" in self._services and settings.stripe_api_base == urls.stripe_url:
            secrets["stripe_webhook_secret"] = await webhook_secret(
                urls.stripe_url, settings.invoicer_url, credentials
            )
        self._settings = settings.model_copy(
            update={name: SecretStr(secret) for name, secret in secrets.items()}
        )
        self._addresses = Addresses(
            settings.ingest_url,
            settings.rater_url,
            settings.invoicer_url,
            urls.kafka,
            urls.database_url,
            urls.stripe_url,
            **keys,
        )
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._services:
                    group.create_task(self.start_service(name))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    def _make_settings(self) -> Settings:
        """Lay this installation's addresses over what the environment says."""
        urls, ports = self.stack.urls, self.stack.ports
        given = Settings()
        if given.tls_cert_file is not None:
            raise WrongUseError(
                "the embedded stack speaks plain HTTP on the loopback address; unset"
                " TALLYBOOK_TLS_CERT_FILE, or run the services by themselves"
            )
        real_stripe = given.stripe_api_key.get_secret_value() != SANDBOX_STRIPE_KEY
        where = {f"{name}_url": f"http://127.0.0.1:{ports[name]}" for name in SERVICES}
        return given.model_copy(
            update={
                "database_url": SecretStr(urls.database_url),
                "kafka_bootstrap_servers": urls.kafka,
                "kafka_security_protocol": "PLAINTEXT",
                "stripe_api_base": given.stripe_api_base if real_stripe else urls.stripe_url,
                "host": "127.0.0.1",
                "rater_instance": given.rater_instance or "rater-1",
                "invoice_minimums": self._minimums or given.invoice_minimums,
                **where,
                **{f"{name}_port": ports[name] for name in SERVICES},
            }
        )

    async def start_service(self, name: str) -> None:
        """Start a service and wait until it is ready."""
        command = [sys.executable, "-m", "services.cli", name]
        url = f"http://127.0.0.1:{self.stack.ports[name]}/health/ready"
        environment = environment_of(self.settings)
        program = Program(name, command, lambda: answers(url), environment)
        await self.stack.supervisor.start(program)
        self._on_progress(f"{name} is ready")


def environment_of(settings: Settings) -> Mapping[str, str]:
    """Write settings as the variables that a service or command reads them from."""
    variables = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            variables[f"TALLYBOOK_{name.upper()}"] = str(value)
    return variables


async def _key(engine: AsyncEngine, credentials: Credentials, name: str, scopes: list[str]) -> str:
    """Give the key made on the first start; made anew where it is gone or revoked."""
    async with AsyncSession(engine) as session:
        kept = credentials.get(name)
        if kept is not None and await _in_force(session, kept):
            return kept
        now = datetime.now(UTC)
        actor = login_name()
        _, secret = await create_key(session, scopes=scopes, actor=actor, now=now)
        credentials.keep(name, secret)
        return secret


async def _in_force(session: AsyncSession, secret: str) -> bool:
    query = select(ApiKey).where(ApiKey.secret_sha256 == secret_hash(secret))
    found = (await session.execute(query)).scalars().first()
    return found is not None and found.revoked_at is None
