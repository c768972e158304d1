"""A catalogue applied to the database: checked first, then as a whole or not at all."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from services.rater.catalogue import store
from services.rater.catalogue.document import read_catalogue
from services.rater.catalogue.store import RefusedCatalogueError
from services.rater.documents import changes_document
from tests.integration.conftest import OpenWorld
from tests.integration.harness.world import CATALOGUE, World

SHIPPED = CATALOGUE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    async with new_world() as made:
        await made.apply_catalogue()
        await made.add_customer("acme", "byok", discount="volume-50k")
        await made.add_customer("blick", "byok")
        yield made


async def check(world: World, text: str) -> dict[str, dict[str, Any]]:
    async with world.sessions("tallybook_rater") as session:
        changes = await store.check(session, read_catalogue(text, name="c"), datetime.now(UTC))
    return {change["name"]: change for change in changes_document(changes)["changes"]}


async def everything(world: World) -> list[Any]:
    tables = ("meters", "plan_versions", "discount_schedules", "model_prices", "audit_entries")
    return [await world.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


async def test_applying_it_again_changes_nothing(world: World) -> None:
    before = await everything(world)
    assert {one["what"] for one in (await check(world, SHIPPED)).values()} == {"unchanged"}
    await world.apply_catalogue()
    assert await everything(world) == before


async def test_a_check_names_what_would_change_and_the_contracts_that_stand_on_it(
    world: World,
) -> None:
    found = await check(world, SHIPPED)
    rows = await world.fetch("SELECT id, discount_schedule_id FROM contracts ORDER BY id")
    assert found["byok@1"]["contract_ids"] == [row["id"] for row in rows]
    assert found["byok@1"]["contracts"] == 2
    assert found["volume-50k@1"]["contract_ids"] == [
        row["id"] for row in rows if row["discount_schedule_id"]
    ]
    assert found["executions"]["contracts"] == 2
    assert found["solo@1"]["contracts"] == 0


REFUSED = {
    "a plan in use": ("unit_price: 0.002", "unit_price: 0.001", "byok@1", "as version 2"),
    "a plan not in use": ("unit_price: 0.008", "unit_price: 0.009", "solo@1", "as version 2"),
    "a schedule": ("percent_off: 10}", "percent_off: 11}", "volume-50k@1", "as version 2"),
    "a meter in use": (
        "filter: {status: succeeded}       #",
        "filter: {status: failed}       #",
        "executions",
        "2 contracts are billed by it; make a meter of another name",
    ),
    "a token price": (
        "input_per_million: 0.80",
        "input_per_million: 0.81",
        "claude-haiku-3.5 from 2024-11-04",
        "with a later date",
    ),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_in_force_is_refused_with_the_way_out(
    world: World, refused: tuple[str, str, str, str]
) -> None:
    """And nothing of the file is applied, not even what is new."""
    old, new, name, way_out = refused
    text = (
        SHIPPED.replace(old, new).replace("components: {inf", "# {inf")
        if name == "byok@1"
        else (SHIPPED.replace(old, new))
    )
    assert text != SHIPPED
    text += "  new-model: [{from: 2026-01-01, currency: USD, input_per_million: 1,"
    text += " output_per_million: 1}]\n"
    found = await check(world, text)
    assert (found[name]["what"], way_out in found[name]["detail"]) == ("refused", True)
    before = await everything(world)
    with pytest.raises(RefusedCatalogueError, match=name):
        await world.apply_catalogue(text)
    assert await everything(world) == before


async def test_a_new_version_leaves_contracts_on_the_old_one(world: World) -> None:
    newer = SHIPPED.replace("  solo:\n    version: 1", "  solo:\n    version: 2").replace(
        "unit_price: 0.008", "unit_price: 0.007"
    )
    before = await world.add_customer("old-terms", "solo")
    assert (await check(world, newer))["solo@2"]["what"] == "new"
    await world.apply_catalogue(newer)
    after = await world.add_customer("new-terms", "solo")
    assert before is not None
    assert after is not None
    assert (before.plan_version_id, after.plan_version_id) == ("solo@1", "solo@2")


async def test_postgres_itself_refuses_contracts_that_overlap(world: World) -> None:
    async with world.connect("tallybook_rater") as connection:
        with pytest.raises(Exception, match="contracts_do_not_overlap"):
            await connection.execute(
                "INSERT INTO contracts (id, customer_id, plan_version_id, starts_at, created_at)"
                " VALUES ('second', 'acme', 'solo@1', now(), now())"
            )
