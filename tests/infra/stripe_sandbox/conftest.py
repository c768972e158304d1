"""A sandbox in this process on a fresh file, with a clock that stands until it is moved."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import stripe
from starlette.applications import Starlette

from infra.stripe_sandbox import API_VERSION
from infra.stripe_sandbox.app import make_app
from tests.infra.stripe_sandbox.checked import KEY, Api, CheckedStripeHTTP, CheckedTransport
from tests.infra.stripe_sandbox.openapi import StripeContract


@dataclass
class StandingClock:
    now: int = 1_790_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture(scope="session")
def contract() -> StripeContract:
    """Stripe's document; where it is not installed this fails, and nothing is skipped."""
    return StripeContract.installed()


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def app(tmp_path: Path, clock: StandingClock) -> Starlette:
    return make_app(tmp_path / "stripe.sqlite3", clock)


@pytest.fixture
async def api(app: Starlette) -> AsyncIterator[Api]:
    transport = CheckedTransport(httpx.ASGITransport(app), requests=False)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://sandbox",
        headers={"Authorization": f"Bearer {KEY}"},
    ) as http:
        yield Api(http)


@pytest.fixture
def wire(app: Starlette) -> CheckedTransport:
    return CheckedTransport(httpx.ASGITransport(app), requests=True)


@pytest.fixture
async def sdk(wire: CheckedTransport) -> AsyncIterator[stripe.StripeClient]:
    http = CheckedStripeHTTP(wire)
    yield stripe.StripeClient(
        KEY,
        base_addresses={"api": "http://sandbox"},
        stripe_version=API_VERSION,
        http_client=http,
    )
    await http.close_async()
