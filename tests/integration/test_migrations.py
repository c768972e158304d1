"""The migrations make the tables that the code describes, and can be applied again and at once."""

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, String, Table
from sqlalchemy.dialects.postgresql import DOMAIN

from infra.migrations.migrate import migrate
from shared import tables
from tests.integration.harness.world import World

ONLY_IN_SQL = {
    "remove_index",
    "remove_constraint",
    "remove_fk",
    "remove_table_comment",
    "modify_comment",
}
"""What the migrations alone say: indexes, further constraints and comments."""


def _is_described(_object: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
    """Leave out tables that are written in plain SQL only and have no class."""
    return kind != "table" or not reflected or name in tables.metadata.tables


def _types_differ(
    _context: Any, _column: Any, _described: Any, in_database: Any, in_code: Any
) -> bool:
    """Compare what a value is in Python: the lengths of texts and integers are the database's."""
    if isinstance(in_database, DOMAIN):
        in_database = in_database.data_type
    in_code = getattr(in_code, "impl", in_code)  # SQLModel wraps its texts
    if in_database.python_type is not in_code.python_type:
        return True
    return getattr(in_database, "timezone", None) != getattr(in_code, "timezone", None)


def _differences(connection: Connection, metadata: MetaData = tables.metadata) -> list[Any]:
    options = {"include_object": _is_described, "compare_type": _types_differ}
    context = MigrationContext.configure(connection, opts=options)
    found: list[Any] = []
    for entry in compare_metadata(context, metadata):
        found.extend(entry if isinstance(entry, list) else [entry])
    return [difference for difference in found if difference[0] not in ONLY_IN_SQL]


async def test_the_tables_in_code_are_those_of_the_migrations(world: World) -> None:
    async with world.engine().connect() as connection:
        assert await connection.run_sync(_differences) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("ALTER TABLE events ADD COLUMN extra text", "remove_column"),
        ("ALTER TABLE events DROP COLUMN log_offset", "add_column"),
        ("ALTER TABLE customers ALTER COLUMN email DROP NOT NULL", "modify_nullable"),
        ("ALTER TABLE line_items ALTER COLUMN amount TYPE double precision", "modify_type"),
        ("ALTER TABLE customers ALTER COLUMN created_at TYPE timestamp", "modify_type"),
        ("DROP TABLE stripe_intents", "add_table"),
    ],
)
async def test_the_comparison_finds_one_difference(world: World, change: str, kind: str) -> None:
    if "line_items" in change:
        await world.fetch("ALTER TABLE line_items DISABLE TRIGGER USER")
    await world.fetch(change)
    async with world.engine().connect() as connection:
        found = await connection.run_sync(_differences)
    assert [difference[0] for difference in found] == [kind]


async def test_the_comparison_finds_a_table_that_only_the_code_has(world: World) -> None:
    metadata = MetaData()
    for table in tables.metadata.tables.values():
        table.to_metadata(metadata)
    Table("only_in_code", metadata, Column("id", String, primary_key=True))
    async with world.engine().connect() as connection:
        found = await connection.run_sync(_differences, metadata)
    assert [difference[0] for difference in found] == ["add_table"]


async def test_migrating_again_and_twice_at_once_changes_nothing(world: World) -> None:
    await world.apply_catalogue()
    before = await world.fetch("SELECT id, applied_at FROM plan_versions ORDER BY id")
    revisions = await asyncio.gather(*(migrate(world.settings) for _ in range(3)))
    assert len(set(revisions)) == 1
    assert await world.fetch("SELECT id, applied_at FROM plan_versions ORDER BY id") == before


async def test_each_table_has_one_service_that_inserts(world: World) -> None:
    """Only the audit trail is written by all."""
    rows = await world.fetch(
        "SELECT table_name, array_agg(grantee::text ORDER BY grantee) AS writers"
        " FROM information_schema.role_table_grants"
        " WHERE privilege_type = 'INSERT' AND grantee LIKE 'tallybook\\_%' GROUP BY 1"
    )
    writers = {row["table_name"]: row["writers"] for row in rows}
    assert len(writers.pop("audit_entries")) == 3
    assert set(writers) >= {"events", "line_items", "invoices", "api_keys", "periods"}
    assert {table: who for table, who in writers.items() if len(who) > 1} == {}


async def test_no_service_may_delete_but_running_totals_and_a_period_that_is_closing(
    world: World,
) -> None:
    rows = await world.fetch(
        "SELECT grantee::text AS role, table_name AS table"
        " FROM information_schema.role_table_grants"
        " WHERE privilege_type IN ('DELETE', 'TRUNCATE') AND grantee LIKE 'tallybook\\_%'"
    )
    assert {tuple(row) for row in rows} == {
        ("tallybook_invoicer", "periods"),
        ("tallybook_rater", "usage_members"),
        ("tallybook_rater", "usage_totals"),
    }


async def test_no_service_may_log_in_or_is_a_superuser(world: World) -> None:
    rows = await world.fetch(
        "SELECT rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole AS powerful"
        " FROM pg_roles WHERE rolname IN ('tallybook_ingest', 'tallybook_rater',"
        " 'tallybook_invoicer')"
    )
    assert [row["powerful"] for row in rows] == [False] * 3
