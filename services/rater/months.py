"""Posts what is due without usage: recurring fees, when a contract's month opens."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import asyncpg

from services.rater import ledger
from services.rater.posting import Kind, LineItem, line_items
from services.rater.pricing import Band, RecurringCharge, difference, price_recurring
from services.rater.rules import Rules, begin_posting, contracts_in
from services.rater.terms import Contract, PostingState
from shared.database import Connection, Pool
from shared.periods import Period


async def open_months(pool: Pool, now: datetime) -> int:
    """Post the fees of every month, up to the present one, that contracts have entered.

    Gives how many contract months were opened. Safe to repeat: each is opened once.
    """
    opened = 0
    async with pool.acquire() as connection:
        first = await connection.fetchval("SELECT min(starts_at) FROM contracts")
        if first is None:
            return 0
        for period in _periods(Period.of(first), Period.of(now)):
            opened += await _open_month(connection, period)
    return opened


def _periods(first: Period, last: Period) -> Iterator[Period]:
    while first <= last:
        yield first
        first = first.next()


async def _open_month(connection: Connection, period: Period) -> int:
    if not await contracts_in(connection, period):
        return 0
    async with connection.transaction():
        state = await begin_posting(connection, Rules())
        opened = 0
        for contract in await contracts_in(connection, period):
            claimed = await connection.fetchval(
                "INSERT INTO contract_months (contract_id, period) VALUES ($1, $2)"
                " ON CONFLICT DO NOTHING RETURNING 1",
                contract.id,
                str(period),
            )
            if claimed:
                await post_month(connection, contract, period, state)
                opened += 1
    return opened


async def post_month(
    connection: Connection, contract: Contract, period: Period, state: PostingState
) -> None:
    """Bring a month's recurring fees to what the contract now says: new minus posted."""
    items: list[LineItem] = []
    for charge in contract.recurring:
        posted, first_id = await _posted(connection, contract, charge, period)
        target = price_recurring(charge, period, contract.starts_at, contract.ends_at)
        bands = difference(target, posted)
        kind: Kind = "recurring" if first_id is None else "adjustment"
        items.extend(line_items(contract, charge.code, bands, str(period), state, kind, first_id))
    await ledger.post(connection, items)


async def _posted(
    connection: Connection, contract: Contract, charge: RecurringCharge, period: Period
) -> tuple[list[Band], int | None]:
    """Give what stands posted for a charge and month, and its first line item."""
    rows: Iterable[asyncpg.Record] = await connection.fetch(
        "SELECT band, unit_price, sum(quantity) AS quantity, sum(amount) AS amount, min(id) AS id"
        " FROM line_items WHERE contract_id = $1 AND usage_period = $2 AND charge = $3"
        " GROUP BY band, unit_price",
        contract.id,
        str(period),
        charge.code,
    )
    bands = [Band(row["band"], row["quantity"], row["unit_price"], row["amount"]) for row in rows]
    return bands, min((row["id"] for row in rows), default=None)
