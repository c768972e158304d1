"""What the integration tests share: the servers, fresh worlds on them, who is told, and logs."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.integration.harness.databases import Databases
from tests.integration.harness.servers import Servers, ServersError, running_servers
from tests.integration.harness.stripe_mock import is_go_there
from tests.integration.harness.world import World, open_world
from tests.services.invoicer.notifying.telling import Telling, telling
from tests.services.invoicer.notifying.transport.receiver import Receiver, running_receiver

_HERE = Path(__file__).parent

# stripe-mock is a second opinion for those who have Go: without it nothing is missing, and what
# was skipped would fail .ci/run.
collect_ignore = [] if is_go_there() else ["test_stripe_mock.py"]

OpenWorld = Callable[..., AbstractAsyncContextManager[World]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that ``-m "not integration"`` needs no server."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every process's log beside a failure."""
    report = yield
    if report.failed:
        arguments = getattr(item, "funcargs", {})
        worlds = {id(value): value for value in arguments.values() if isinstance(value, World)}
        for world in worlds.values():
            for process in world.processes:
                title = f"log of {process.name}, process {process.pid}"
                report.sections.append((title, process.last_lines()))
    return report


@pytest.fixture(scope="session")
def data_directory() -> Iterator[Path]:
    """A directory that other users may pass, as Postgres runs as one; pytest's own is closed."""
    with tempfile.TemporaryDirectory(prefix="tallybook-test-") as directory:
        yield Path(directory)


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory for one test's own Postgres, which other users may pass too."""
    with tempfile.TemporaryDirectory(prefix="tallybook-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(scope="session")
async def stack(data_directory: Path) -> AsyncIterator[Servers]:
    """The real Postgres and Kafka; where they cannot be had, an error that says why."""
    try:
        async with running_servers(os.environ, data_directory) as servers:
            yield servers
    except ServersError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
async def databases(stack: Servers) -> AsyncIterator[Databases]:
    async with Databases(stack.database_url) as made:
        yield made


@pytest.fixture(scope="session")
def new_world(
    stack: Servers, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> OpenWorld:
    """Opens worlds: for fixtures that keep one for a whole module."""

    def open_one(*, kafka: str | None = None) -> AbstractAsyncContextManager[World]:
        return open_world(stack, databases, tmp_path_factory.mktemp("world"), kafka=kafka)

    return open_one


@pytest.fixture
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """A world of the test's own."""
    async with new_world() as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of notices."""
    async with running_receiver() as made:
        yield made


@pytest.fixture
async def told(world: World) -> AsyncIterator[Telling]:
    """A world in which notices are delivered when the test says so."""
    async with telling(world) as made:
        yield made
