"""The outbox holds each notice once, and only of what was committed."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from services.invoicer.notifying.outbox.notices import Notice
from services.invoicer.notifying.outbox.putting import put, put_all
from shared.database import Role
from tests.integration.harness.world import World

MOMENT = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)


def _notice(key: str = "acme 2026-10 80%", total: str = "80.00") -> Notice:
    data = {"customer": "acme", "amount": total, "currency": "USD"}
    return Notice("usage.threshold_reached", key, "acme", MOMENT, data)


async def test_a_notice_that_is_put_again_stays_as_it_was_first(world: World) -> None:
    async with world.sessions("tallybook_invoicer") as session:
        assert await put(session, _notice())
        assert not await put(session, _notice(total="81.00"))
        assert await put_all(session, [_notice(), _notice("another"), _notice("a third")]) == 2
        await session.commit()
    rows = await world.fetch("SELECT * FROM outbox ORDER BY key")
    assert [row["key"] for row in rows] == ["a third", "acme 2026-10 80%", "another"]
    assert dict(rows[1])["id"] == _notice().id
    assert (rows[1]["subject"], rows[1]["occurred_at"]) == ("acme", MOMENT)
    assert '"80.00"' in rows[1]["data"]
    assert rows[1]["fanned_out_at"] is None


async def test_what_is_rolled_back_is_not_told(world: World) -> None:
    async with world.sessions("tallybook_invoicer") as session:
        assert await put(session, _notice())
        await session.rollback()
    assert await world.count("outbox") == 0


async def test_of_two_transactions_at_once_one_puts_it(world: World) -> None:
    async def one() -> bool:
        async with world.sessions("tallybook_invoicer") as session:
            put_it = await put(session, _notice())
            await asyncio.sleep(0)
            await session.commit()
            return put_it

    assert sorted(await asyncio.gather(*(one() for _ in range(6)))) == [False] * 5 + [True]


async def test_no_other_service_may_put_and_none_may_take_back(world: World) -> None:
    async with world.connect("tallybook_rater") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO outbox (id, type, key, subject, occurred_at, data)"
                " VALUES ('x', 'invoice.paid', 'x', 'x', now(), '{}')"
            )
    async with world.connect("tallybook_invoicer") as connection:
        for query in ("DELETE FROM outbox", "UPDATE outbox SET data = '{}'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(query)


@pytest.mark.parametrize("role", ["tallybook_ingest", "tallybook_rater"])
async def test_no_other_service_may_read_the_secrets(world: World, role: Role) -> None:
    async with world.connect(role) as connection:
        await connection.fetch("SELECT * FROM outbox")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT secret FROM notice_endpoints")
