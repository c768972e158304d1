"""Every service answers as its OpenAPI document says, whatever is sent to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.conftest import OpenWorld
from tests.integration.harness.world import Service, World

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = settings.default.max_examples if settings.default else 50


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.add_customer("ada", "byok")
        for service in ("ingest", "rater", "invoicer"):
            await made.start(
                service,
                close_wait_seconds=20,
                stripe_webhook_secret=SecretStr("whsec_of_the_tests"),
            )
        yield made


def complaints(url: str, keys: tuple[str, ...]) -> Iterator[str]:
    """Send each operation many requests, and give what it answered otherwise than it says."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        for key in keys:
            try:
                examine(operation, key)
            except FailureGroup as group:
                yield from (f"{operation.label}: {one}" for one in group.exceptions)
                break


def examine(operation: Any, key: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {key}"} if key else {})
        case.validate_response(response, checks=CHECKS)

    check()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("service", ["ingest", "rater", "invoicer"])
async def test_it_answers_as_documented(world: World, service: Service) -> None:
    url = getattr(world.settings, f"{service}_url")
    key = world.producer_key if service == "ingest" else world.finance_key
    found = await asyncio.to_thread(lambda: list(complaints(url, (key, ""))))
    assert not found, "\n\n".join(found)
