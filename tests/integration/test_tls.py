"""The services speak HTTPS where they have a certificate: TLS 1.3, and nothing older."""

import asyncio
import ssl
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
import trustme
from pydantic import SecretStr
from sqlalchemy import text

from shared.client import AsyncClient, Options
from shared.database import open_engine, open_pool
from tests.integration.harness.events import executions
from tests.integration.harness.world import Service, World

TLS = {version: getattr(ssl.TLSVersion, version) for version in ("TLSv1_2", "TLSv1_3")}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the key, the certificate, and nothing else."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def trusting(authority: trustme.CA, newest: str = "TLSv1_3") -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = TLS[newest]
    return context


async def _until_ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                if (await http.get("/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("service", ["ingest", "rater", "invoicer"])
async def test_a_service_speaks_tls_1_3_only(
    world: World, authority: trustme.CA, certificate: Path, service: Service
) -> None:
    process = await world.start(service, wait=False, tls_cert_file=certificate)
    url = process.url.replace("http:", "https:")
    async with httpx.AsyncClient(base_url=url, verify=trusting(authority)) as http:
        await _until_ready(http)
    port = httpx.URL(url).port
    older = trusting(authority, "TLSv1_2")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=older)
    with pytest.raises(httpx.TransportError):
        await world.http.get(f"{process.url}/health/live")


async def test_producers_reach_it(
    world: World, authority: trustme.CA, certificate: Path, tmp_path: Path
) -> None:
    process = await world.start("ingest", wait=False, tls_cert_file=certificate)
    url = process.url.replace("http:", "https:")
    async with httpx.AsyncClient(base_url=url, verify=trusting(authority)) as http:
        await _until_ready(http)
    events = executions("ada", 3, period=world.period)
    options = Options(ssl_context=trusting(authority))
    async with AsyncClient(url, world.producer_key, options) as client:
        await client.record(events[0])
        await client.flush()
    ca_file, file = tmp_path / "ca.pem", tmp_path / "events.ndjson"
    authority.cert_pem.write_to_path(ca_file)
    file.write_bytes(b"\n".join(msgspec.json.encode(event) for event in events[1:]))
    environment = {**world.environment, "TALLYBOOK_INGEST_URL": url, "SSL_CERT_FILE": str(ca_file)}
    command = ("-m", "services.cli", "events", "send", str(file))
    sending = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment)
    assert await sending.wait() == 0
    assert len(await world.log_records()) == 3


async def test_a_certificate_that_cannot_be_used_is_one_line(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (tmp_path / "missing.pem", broken):
        process = await world.start("ingest", wait=False, tls_cert_file=path)
        assert await process.ended() == 2
        assert f"TALLYBOOK_TLS_CERT_FILE, {path}," in process.log_text()
        assert "Traceback" not in process.log_text()


async def test_postgres_is_asked_for_tls_where_the_address_says_so(world: World) -> None:
    """The embedded Postgres has none, and is refused; another may have it, and then uses it."""
    uses_tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    address = SecretStr(f"{world.settings.postgres()}?sslmode=require")
    settings = world.settings.model_copy(update={"database_url": address})
    engine = open_engine(settings, "tallybook_rater")

    async def by_engine() -> bool:
        async with engine.connect() as connection:
            return bool(await connection.scalar(text(uses_tls)))

    async def by_pool() -> bool:
        async with await open_pool(settings, "tallybook_rater", size=1) as pool:
            return bool(await pool.fetchval(uses_tls))

    for ask in (by_engine, by_pool):
        try:
            assert await ask()
        except ConnectionError as error:
            assert "rejected SSL upgrade" in str(error)  # noqa: PT017 # it may be raised
    await engine.dispose()
