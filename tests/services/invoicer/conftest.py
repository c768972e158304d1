"""A gateway onto a sandbox in this process; each request is held to Stripe's document."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from infra.stripe_sandbox.app import make_app
from services.invoicer.stripe_gateway import StripeGateway
from shared.settings import Settings
from tests.infra.stripe_sandbox.checked import KEY, Api, CheckedStripeHTTP, CheckedTransport


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    return make_app(tmp_path / "stripe.sqlite3", lambda: 1_790_000_000)


@pytest.fixture
def wire(app: Starlette) -> CheckedTransport:
    return CheckedTransport(httpx.ASGITransport(app), requests=True)


def sandbox_settings(key: str = KEY) -> Settings:
    return Settings(_env_file=None, stripe_api_base="http://sandbox", stripe_api_key=SecretStr(key))


@pytest.fixture
async def gateway(wire: CheckedTransport) -> AsyncIterator[StripeGateway]:
    async with StripeGateway(sandbox_settings(), http_client=CheckedStripeHTTP(wire)) as made:
        yield made


@pytest.fixture
async def api(app: Starlette) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://sandbox",
        headers={"Authorization": f"Bearer {KEY}"},
    ) as http:
        yield Api(http)
