"""The audit trail: chained by Postgres, whoever writes and at once, and verified by other code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from services.invoicer.auditing.reading import Verified, verify
from shared import audit
from shared.database import Role
from tests.integration.conftest import OpenWorld
from tests.integration.harness.commands import tallybook
from tests.integration.harness.world import World

ROLES: tuple[Role, ...] = ("tallybook_ingest", "tallybook_rater", "tallybook_invoicer")


@pytest.fixture(scope="module")
async def world(new_world: OpenWorld) -> AsyncIterator[World]:
    """Entries of three roles, ten acts of each at once, of which every third is rolled back."""
    async with new_world() as made:
        await asyncio.gather(*(act(made, role, n) for role in ROLES for n in range(10)))
        yield made


async def act(world: World, role: Role, number: int) -> None:
    async with world.sessions(role) as session:
        for part in ("begin", "end"):
            await audit.record(
                session,
                actor=f'{role}, "ä" {number}',
                act=f"test.{part}",
                subject=f"subject {number}",
                before=None if number % 2 else {"n": number, "of": ["ü", None, 1.5e-7]},
                after={"n": number + 1},
            )
        await (session.rollback if number % 3 == 2 else session.commit)()


async def verified(world: World, noted: bytes | None = None) -> Verified:
    async with world.sessions("tallybook_invoicer") as session:
        return await verify(session, noted)


@asynccontextmanager
async def tampered(world: World, *statements: str) -> AsyncIterator[None]:
    """Change the trail as only a superuser without triggers can; put it back afterwards."""
    tables = ("audit_entries", "audit_chain", "audit_head")
    async with world.connect() as connection:
        await connection.execute("SET session_replication_role = replica")
        for table in tables:
            await connection.execute(f"CREATE TEMPORARY TABLE kept_{table} AS TABLE {table}")
        for statement in statements:
            assert not (await connection.execute(statement)).endswith(" 0"), statement
        try:
            yield
        finally:
            for table in tables:
                await connection.execute(f"DELETE FROM {table}")
                await connection.execute(
                    f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept_{table}"
                )


async def test_acts_of_all_roles_at_once_make_one_chain(world: World) -> None:
    found = await verified(world)
    assert (found.findings, found.entries) == ([], found.head[0])
    assert found.entries == await world.count("audit_entries") >= 3 * 7 * 2
    (rows,) = await world.fetch(
        "SELECT count(DISTINCT position) AS links, max(position) AS last FROM audit_chain"
    )
    assert rows["links"] == rows["last"] == found.entries


THIRD = "(SELECT entry_id FROM audit_chain WHERE position = 3)"
LAST = "(SELECT position FROM audit_head)"


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        ([f"UPDATE audit_entries SET actor = actor || 'x' WHERE id = {THIRD}"], "changed"),
        ([f"UPDATE audit_entries SET at = at - interval '1 microsecond' WHERE id = {THIRD}"],
         "changed"),
        ([f"UPDATE audit_entries SET after = '{{\"n\": 1.0}}' WHERE id = {THIRD}"], "changed"),
        ([f"UPDATE audit_entries SET before = 'null' WHERE id = {THIRD}",
          f"UPDATE audit_entries SET after = NULL WHERE id = {THIRD}"], "changed"),
        (["UPDATE audit_chain SET hash = sha256(hash) WHERE position = 3"], "changed"),
        (["UPDATE audit_head SET hash = sha256(hash)"], "changed"),
        ([f"DELETE FROM audit_entries WHERE id = {THIRD}"], "removed"),
        ([f"DELETE FROM audit_entries WHERE id = {THIRD}",
          "DELETE FROM audit_chain WHERE position = 3"], "removed"),
        ([(f"DELETE FROM audit_entries WHERE id = (SELECT entry_id FROM audit_chain"
          f" WHERE position = {LAST})"), f"DELETE FROM audit_chain WHERE position = {LAST}"],
         "removed"),
        (["INSERT INTO audit_entries (actor, act, subject) VALUES ('me', 'x', 'y')"], "inserted"),
        (["INSERT INTO audit_entries (actor, act, subject) VALUES ('me', 'x', 'y')",
          ("INSERT INTO audit_chain SELECT h.position + 1, max(e.id), h.hash"
          " FROM audit_head h, audit_entries e GROUP BY h.position, h.hash")], "inserted"),
    ],
)  # fmt: skip
async def test_what_was_tampered_with_is_found(
    world: World, statements: list[str], what: str
) -> None:
    async with tampered(world, *statements):
        found = (await verified(world)).findings
    assert what in [one.what for one in found]
    assert (await verified(world)).findings == []


async def test_a_chain_made_anew_lacks_the_head_that_was_noted(world: World) -> None:
    noted = (await verified(world)).head[1]
    assert (await verified(world, noted)).findings == []
    await act(world, "tallybook_rater", 1)
    assert (await verified(world, noted)).findings == []
    last = f"WHERE position = {LAST}"
    statements = [
        f"DELETE FROM audit_entries WHERE id = (SELECT entry_id FROM audit_chain {last})",
        f"DELETE FROM audit_chain {last}",
        (
            "UPDATE audit_head SET position = position - 1, hash ="
            " (SELECT hash FROM audit_chain c WHERE c.position = audit_head.position - 1)"
        ),
    ]
    async with tampered(world, *statements, *statements, *statements):
        assert [one.what for one in (await verified(world, noted)).findings] == ["removed"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO audit_chain VALUES (9999, 1, '')",
        "UPDATE audit_head SET position = 0",
        "DELETE FROM audit_chain",
        "ALTER TABLE audit_entries DISABLE TRIGGER USER",
        "SET session_replication_role = replica",
    ],
)
async def test_no_service_can_write_the_chain(world: World, role: Role, statement: str) -> None:
    async with world.connect(role) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_an_act_waits_for_another_only_while_it_commits(world: World) -> None:
    async with (
        world.sessions("tallybook_rater") as first,
        world.sessions("tallybook_rater") as other,
    ):
        for session in (first, other):
            await audit.record(session, actor="tests", act="test.slow", subject="s")
        await other.commit()
        await first.commit()
    assert (await verified(world)).findings == []


# the command and its twin -----------------------------------------------------------------------


async def test_the_command_lists_and_verifies(world: World) -> None:
    (third,) = await world.fetch(f"SELECT {THIRD} AS id")
    older = await tallybook(world, "audit", "--before", str(third["id"]), "--json")
    ids = [one["id"] for one in older.document["entries"]]
    assert (older.status, ids) == (0, sorted(ids, reverse=True))
    assert max(ids) < third["id"]

    _, head = (await verified(world)).head
    async with tampered(world, f"UPDATE audit_entries SET act = 'x' WHERE id = {THIRD}"):
        spoiled = await tallybook(world, "audit", "--verify", "--noted", head.hex())
    assert spoiled.status == 1
    assert "NOT whole: 1 findings" in spoiled.out
    assert f"entry {third['id']} is not as it was written" in spoiled.out


async def test_finance_gets_the_same_over_http(world: World) -> None:
    await world.start("invoicer")
    url, headers = world.settings.invoicer_url, {"Authorization": f"Bearer {world.finance_key}"}

    async def ask(path: str, **more: Any) -> Any:
        return await world.http.get(f"{url}/v1/{path}", **{"headers": headers, **more})

    listed = (await ask("audit")).json()
    assert len(listed["entries"]) == await world.count("audit_entries")
    assert listed["more_before"] is None
    assert (await ask("audit?since=2999-01-01T00:00:00Z")).json()["entries"] == []
    found = await verified(world)
    answer = (await ask(f"audit/verification?noted={found.head[1].hex()}")).json()
    assert answer == {
        "whole": True,
        "entries": found.entries,
        "head": {"position": found.head[0], "hash": found.head[1].hex()},
        "findings": [],
    }
    assert (await ask("audit/verification?noted=x")).status_code == 422
    producer = {"Authorization": f"Bearer {world.producer_key}"}
    assert (await ask("audit", headers=producer)).status_code == 403
