"""Rates contracts' months again from their events: to check the books, or to mend them.

When all is well this posts nothing: running totals are what the events come to, and line items
are f of it (I4).
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.rater import ledger
from services.rater.counting import count_usage
from services.rater.posting import LineItem
from services.rater.repricing import Month, count_and_reprice, owed
from services.rater.rules import (
    Rules,
    begin_posting,
    know_contracts,
    load_rules,
    lock_posting,
)
from services.rater.tallying import UsageKey
from shared import audit
from shared.database import Connection, asyncpg_connection
from shared.errors import NotFoundError
from shared.money import plain
from shared.periods import Period
from shared.tables.rater import Customer

ZERO = Decimal(0)


class Finding(msgspec.Struct, frozen=True):
    """Where the books are not what the events come to.

    `what` is `total`, a running total, whose `name` is the meter with dimension and value;
    `line_items`, where `expected` is the amount still to be posted for a charge and band; or
    `contract`, where `found` events stand under a contract that is not in force at their time.
    """

    contract: str
    period: str
    what: str
    name: str
    expected: str
    found: str


class Checked(msgspec.Struct, frozen=True):
    """What a check looked at, and what it found."""

    months: int
    events: int
    findings: list[Finding]


_SCOPE = "($1::text IS NULL OR customer_id = $1) AND ($2::text IS NULL OR {period} = $2)"
_MONTH_OF_EVENT = "to_char(time AT TIME ZONE 'UTC', 'YYYY-MM')"
_MONTHS = f"""
    SELECT contract_id, {_MONTH_OF_EVENT} AS period FROM events
    WHERE contract_id IS NOT NULL AND {_SCOPE.format(period=_MONTH_OF_EVENT)}
    UNION
    SELECT contract_id, period::text FROM contract_months JOIN contracts ON id = contract_id
    WHERE {_SCOPE.format(period="period")}
    UNION
    SELECT contract_id, usage_period::text FROM line_items
    WHERE {_SCOPE.format(period="usage_period")}
    UNION
    SELECT contract_id, usage_period::text FROM usage_totals JOIN contracts ON id = contract_id
    WHERE {_SCOPE.format(period="usage_period")}
"""
_ASTRAY = """
    FROM events e JOIN contracts c ON c.id = e.contract_id
    WHERE ($1::text IS NULL OR e.customer_id = $1)
      AND ($2::timestamptz IS NULL OR (e.time >= $2 AND e.time < $3))
      AND NOT (c.customer_id = e.customer_id AND e.time >= c.starts_at
               AND (c.ends_at IS NULL OR e.time < c.ends_at))
"""


async def begin_snapshot(session: AsyncSession) -> None:
    """Let a new session see one state of the books until its end, whatever the rater does."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    await session.execute(text("SELECT 1"))


async def count_events(
    session: AsyncSession, customer_id: str | None, period: Period | None
) -> int:
    """Count the events that a check will look at; raise `NotFoundError` for no such customer."""
    if customer_id is not None:
        await _known(session, customer_id)
    connection = await asyncpg_connection(session)
    number = await connection.fetchval(
        "SELECT count(*) FROM events WHERE contract_id IS NOT NULL AND NOT voided"
        f" AND {_SCOPE.format(period=_MONTH_OF_EVENT)}",
        customer_id,
        period and str(period),
    )
    return int(number)


async def check_books(
    session: AsyncSession,
    customer_id: str | None,
    period: Period | None,
    on_progress: Callable[[int], object] = lambda _events: None,
) -> Checked:
    """Count the events of contracts' months again, and compare; nothing is changed."""
    connection = await asyncpg_connection(session)
    rules = Rules()
    state = await load_rules(connection, rules)
    months = await _months(connection, customer_id, period)
    await know_contracts(connection, rules, {contract_id for contract_id, _ in months})
    events = 0

    def count(more: int) -> None:
        nonlocal events
        events += more
        on_progress(more)

    counted = (await count_usage(connection, rules, months, count)).totals()
    kept = await ledger.read_usage(connection, months)
    findings = [
        *await _astray(connection, customer_id, period),
        *_totals(counted, kept),
        *map(_line_item, await owed(connection, rules, state, months, counted)),
    ]
    return Checked(len(months), events, sorted(findings, key=msgspec.structs.astuple))


async def rerate(
    session: AsyncSession, customer_id: str, period: Period, *, actor: str
) -> list[LineItem]:
    """Count a customer's month again from its events, and post what is missing.

    Events that stand under a contract not in force at their time go to the one that is. Gives
    what was posted: nothing when all is well, and then there is no audit entry either.
    """
    await _known(session, customer_id)
    await lock_posting(session)
    connection = await asyncpg_connection(session)
    rules = Rules()
    state = await begin_posting(connection, rules)
    before = await check_books(session, customer_id, period)
    if not before.findings:
        await session.rollback()
        return []
    months = set(await _months(connection, customer_id, period))
    moved = await connection.fetch(
        "UPDATE events e SET contract_id = (SELECT n.id FROM contracts n"
        " WHERE n.customer_id = e.customer_id AND e.time >= n.starts_at"
        " AND (n.ends_at IS NULL OR e.time < n.ends_at)), batch_id = $4"
        f" WHERE (e.source, e.id) IN (SELECT e.source, e.id {_ASTRAY}) RETURNING e.contract_id",
        customer_id,
        period.start,
        period.end,
        state.batch_id,
    )
    months |= {(row["contract_id"], str(period)) for row in moved if row["contract_id"]}
    items = await count_and_reprice(connection, rules, state, months)
    await audit.record(
        session,
        actor=actor,
        act="usage.rerate",
        subject=f"customer {customer_id} {period}",
        before={"findings": [msgspec.to_builtins(one) for one in before.findings[:100]]},
        after={"line_items": len(items), "events_moved": len(moved), "batch_id": state.batch_id},
    )
    await session.commit()
    return items


async def _known(session: AsyncSession, customer_id: str) -> None:
    if await session.get(Customer, customer_id) is None:
        raise NotFoundError(f"there is no customer {customer_id!r}; see: customers list")


async def _months(
    connection: Connection, customer_id: str | None, period: Period | None
) -> Collection[Month]:
    """Name the contracts' months of which anything is on record."""
    rows = await connection.fetch(_MONTHS, customer_id, period and str(period))
    return {(row["contract_id"], row["period"]) for row in rows}


async def _astray(
    connection: Connection, customer_id: str | None, period: Period | None
) -> list[Finding]:
    rows = await connection.fetch(
        f"SELECT e.contract_id, {_MONTH_OF_EVENT} AS period,"
        f" count(*) AS events {_ASTRAY} GROUP BY 1, 2",
        customer_id,
        period and period.start,
        period and period.end,
    )
    return [
        Finding(row["contract_id"], row["period"], "contract", "events", "0", str(row["events"]))
        for row in rows
    ]


def _totals(
    counted: Mapping[UsageKey, Decimal], kept: Mapping[UsageKey, Decimal]
) -> Iterator[Finding]:
    for key in counted.keys() | kept.keys():
        expected, found = counted.get(key, ZERO), kept.get(key, ZERO)
        if expected != found:
            split = f" {key.dimension}={key.value}" if key.dimension else ""
            yield Finding(
                key.contract_id,
                key.usage_period,
                "total",
                f"{key.meter}{split}",
                plain(expected),
                plain(found),
            )


def _line_item(item: LineItem) -> Finding:
    return Finding(
        item.contract_id,
        item.usage_period,
        "line_items",
        f"{item.charge} {item.band}",
        plain(item.amount),
        "0",
    )
