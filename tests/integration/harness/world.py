"""A world for one test: a fresh database and topic, and services of its own. I/O: all of it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg
import httpx
import msgspec
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from services.ingest.keys import create_key
from services.rater import contracts
from services.rater.catalogue import store
from services.rater.catalogue.document import read_catalogue
from shared.broker import create_topic, end_offsets
from shared.database import Role, open_engine
from shared.keys import FINANCE, READ_EVENTS, SEND_EVENTS
from shared.periods import Period
from shared.settings import Settings
from shared.tables.rater import Contract
from tests.integration.harness import log
from tests.integration.harness.books import (
    Connection,
    Totals,
    read_totals,
    what_does_not_balance,
    what_is_missing,
)
from tests.integration.harness.databases import Databases
from tests.integration.harness.events import Event
from tests.integration.harness.log import LogRecord
from tests.integration.harness.ports import free_port
from tests.integration.harness.processes import ServiceProcess, start_process
from tests.integration.harness.servers import Servers
from tests.integration.harness.settings import environment_for, settings_for

CATALOGUE = Path(__file__).parents[3] / "services" / "rater" / "catalogue" / "bizbot.yaml"
ACTOR = "tests"
BATCH = "application/cloudevents-batch+json"
Service = Literal["ingest", "rater", "invoicer"]


class World:
    """Everything that a test needs, and nothing that another test can see."""

    def __init__(
        self, servers: Servers, settings: Settings, directory: Path, http: httpx.AsyncClient
    ) -> None:
        self.servers = servers
        self.settings = settings
        self.directory = directory
        self.http = http
        self.period = Period.of(datetime.now(UTC)).previous()
        """The month before the present one: over, and young enough for ingest."""
        self.processes: list[ServiceProcess] = []
        self.variables: dict[str, str] = {}
        """What services find in their environment beside the settings."""
        self.producer_key = ""
        self.finance_key = ""
        self._engines: dict[Role | None, AsyncEngine] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process or command works in this world."""
        return environment_for(self.settings)

    # processes ----------------------------------------------------------------------------

    async def start(
        self, name: Service, *, wait: bool = True, **overrides: object
    ) -> ServiceProcess:
        """Start a service and wait until it is ready; `overrides` are settings for it alone.

        The first of a name listens on the port that the settings say, a further one, while
        the first runs, on a free one.
        """
        if name == "invoicer":
            await self.start_stripe()
        port_name = f"{name}_port"
        if any(p.name == name and p.status is None for p in self.processes):
            overrides.setdefault(port_name, free_port())
        settings = self.settings.model_copy(update=overrides)
        return await self._start(
            name, ["-m", "services.cli", name], getattr(settings, port_name), settings, wait=wait
        )

    async def start_stripe(self) -> ServiceProcess:
        """Start the Stripe sandbox on this world's own file, unless it runs already."""
        for process in self.processes:
            if process.name == "stripe" and process.status is None:
                return process
        base = httpx.URL(self.settings.stripe_api_base or "")
        assert base.port is not None
        data = str(self.directory / "stripe.sqlite3")
        command = ["-m", "infra.stripe_sandbox", "--port", str(base.port), "--data", data]
        return await self._start("stripe", command, base.port, self.settings, wait=True)

    async def _start(
        self, name: str, command: Sequence[str], port: int, settings: Settings, *, wait: bool
    ) -> ServiceProcess:
        process = await start_process(
            name,
            command,
            url=f"http://127.0.0.1:{port}",
            log=self.directory / f"{name}-{port}.log",
            environment={**environment_for(settings), **self.variables},
        )
        self.processes.append(process)
        if wait:
            await process.ready()
        return process

    async def metrics(self, service: Service) -> dict[str, float]:
        """Read a service's own metrics, each by its name and labels as they stand in the text."""
        url = f"http://127.0.0.1:{getattr(self.settings, f'{service}_port')}/metrics"
        text = (await self.http.get(url)).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("tallybook_")]
        return {name: float(value) for name, value in lines}

    # setting up ---------------------------------------------------------------------------

    def engine(self, role: Role | None = None) -> AsyncEngine:
        """Give the engine of a role, None for the superuser."""
        if role not in self._engines:
            self._engines[role] = open_engine(self.settings, role)
        return self._engines[role]

    @contextlib.asynccontextmanager
    async def sessions(self, role: Role) -> AsyncIterator[AsyncSession]:
        """Open a session in the role of a service."""
        async with AsyncSession(self.engine(role), expire_on_commit=False) as session:
            yield session

    @contextlib.asynccontextmanager
    async def connect(self, role: Role | None = None) -> AsyncIterator[Connection]:
        """Open a plain connection, as the superuser unless a role is named."""
        given = {"timezone": "UTC"} if role is None else {"timezone": "UTC", "role": role}
        connection = await asyncpg.connect(self.settings.postgres(), server_settings=given)
        try:
            yield connection
        finally:
            await connection.close()

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one query as the superuser."""
        async with self.connect() as connection:
            return list(await connection.fetch(query, *arguments))

    async def count(self, table: str) -> int:
        """Count the rows of a table."""
        return int((await self.fetch(f"SELECT count(*) AS rows FROM {table}"))[0]["rows"])

    async def create_key(self, **terms: Any) -> tuple[str, str]:
        """Make an API key; gives its id and its secret."""
        async with self.sessions("tallybook_ingest") as session:
            now = datetime.now(UTC)
            key, secret = await create_key(session, **{"actor": ACTOR, "now": now, **terms})
            return key.id, secret

    async def create_topic(self) -> None:
        """Make the usage topic, where the world was opened without."""
        await create_topic(self.settings)

    async def apply_catalogue(self, text: str | None = None) -> None:
        """Apply the catalogue that ships with Tallybook, or another one."""
        if text is None:
            text = await asyncio.to_thread(CATALOGUE.read_text, encoding="utf-8")
        catalogue = read_catalogue(text, name="catalogue")
        async with self.sessions("tallybook_rater") as session:
            await store.apply(session, catalogue, actor=ACTOR, now=datetime.now(UTC))

    async def add_customer(
        self,
        customer: str,
        plan: str | None,
        starts_at: datetime | None = None,
        discount: str | None = None,
    ) -> Contract | None:
        """Add a customer, on a plan from the start of `period` unless said otherwise."""
        async with self.sessions("tallybook_rater") as session:
            await contracts.add_customer(
                session,
                customer_id=customer,
                name=f"Customer {customer}",
                email=f"{customer}@example.com",
                currency="USD",
                actor=ACTOR,
                now=datetime.now(UTC),
            )
        if plan is None:
            return None
        return await self.start_contract(customer, plan, starts_at, discount)

    async def start_contract(
        self,
        customer: str,
        plan: str,
        starts_at: datetime | None = None,
        discount: str | None = None,
        terms: contracts.Terms | None = None,
    ) -> Contract:
        """Put a customer on a plan, from the start of `period` unless said otherwise."""
        async with self.sessions("tallybook_rater") as session:
            return await contracts.start_contract(
                session,
                customer_id=customer,
                plan=plan,
                starts_at=starts_at or self.period.start,
                terms=terms or contracts.Terms(discount),
                actor=ACTOR,
                now=datetime.now(UTC),
            )

    async def switch_contract(self, customer: str, plan: str, at: datetime) -> Contract:
        """Switch a customer to another plan at a moment."""
        async with self.sessions("tallybook_rater") as session:
            return await contracts.switch_contract(
                session,
                customer_id=customer,
                plan=plan,
                at=at,
                actor=ACTOR,
                now=datetime.now(UTC),
            )

    async def end_contract(self, customer: str, at: datetime) -> Contract:
        """End a customer's contract at a moment."""
        async with self.sessions("tallybook_rater") as session:
            return await contracts.end_contract(session, customer_id=customer, at=at, actor=ACTOR)

    # events -------------------------------------------------------------------------------

    async def post(
        self, body: bytes, *, media_type: str = BATCH, key: str | None = None
    ) -> httpx.Response:
        """Post a body to ingest as it is."""
        secret = self.producer_key if key is None else key
        headers = {"content-type": media_type, "authorization": f"Bearer {secret}"}
        url = f"{self.settings.ingest_url}/v1/events"
        return await self.http.post(url, content=body, headers=headers)

    async def send(self, events: Sequence[Event], *, key: str | None = None) -> dict[str, Any]:
        """Send events in one batch; gives the answer, which must be a 200."""
        response = await self.post(msgspec.json.encode(events), key=key)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def produce(
        self,
        values: Iterable[bytes | None],
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> list[tuple[int, int]]:
        """Write records straight to the log, past ingest; gives partition and offset of each."""
        return await log.produce(
            self.settings, values, key=key, partition=partition, headers=headers
        )

    async def log_records(self) -> list[LogRecord]:
        """Read everything that is on the log, by partition and offset."""
        return await log.read_all(self.settings)

    # the books ----------------------------------------------------------------------------

    async def caught_up(self, *, seconds: float = 60) -> None:
        """Wait until the rater has done all there is to do; fail with what it has not."""
        deadline = time.monotonic() + seconds
        while missing := await self._missing():
            if time.monotonic() > deadline:
                raise AssertionError(f"after {seconds:g} s the rater still has: {missing}")
            await asyncio.sleep(0.1)

    async def _missing(self) -> str | None:
        for process in self.processes:
            if process.name == "rater" and process.status not in (None, 0, -9, -15):
                raise AssertionError(f"the rater ended by itself:\n{process.last_lines()}")
        ends = await end_offsets(self.settings)
        async with self.connect() as connection:
            return await what_is_missing(connection, self.settings.usage_topic, ends)

    async def totals(self, period: Period | None = None) -> Totals:
        """Read what the month's books come to."""
        async with self.connect() as connection:
            return await read_totals(connection, period or self.period)

    async def out_of_balance(self) -> list[dict[str, Any]]:
        """Find where line items are not the price of the events (I4); nothing must come."""
        async with self.connect() as connection:
            return await what_does_not_balance(connection)

    async def restart_postgres(self) -> None:
        """Take Postgres away for a moment."""
        await self.servers.restart_postgres(self.settings.postgres().rpartition("/")[2])

    async def close(self) -> None:
        """Stop the processes and let go of all connections."""
        await asyncio.gather(*(process.stop() for process in self.processes))
        for engine in self._engines.values():
            await engine.dispose()


@contextlib.asynccontextmanager
async def open_world(
    servers: Servers, databases: Databases, directory: Path, *, kafka: str | None = None
) -> AsyncIterator[World]:
    """Make a world and take it apart afterwards; `kafka` names another one than the servers'.

    With another Kafka, which may not be up yet, its topic is left for the test to make.
    """
    name = f"world_{os.urandom(5).hex()}"
    url = await databases.make(name)
    settings = settings_for(url, kafka or servers.kafka, f"usage.{name}")
    async with httpx.AsyncClient(timeout=60) as http:
        world = World(servers, settings, directory, http)
        try:
            if kafka is None:
                await create_topic(settings)
            await _make_keys(world)
            yield world
        finally:
            await world.close()
            await databases.drop(name)
            if kafka is None:
                await log.drop_topic(settings)


async def _make_keys(world: World) -> None:
    _, world.producer_key = await world.create_key(scopes=[SEND_EVENTS, READ_EVENTS])
    _, world.finance_key = await world.create_key(scopes=[FINANCE])
    keys: Mapping[str, SecretStr] = {
        "producer_key": SecretStr(world.producer_key),
        "finance_key": SecretStr(world.finance_key),
    }
    world.settings = world.settings.model_copy(update=keys)
