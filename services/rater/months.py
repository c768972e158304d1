"""Opens contracts' months: what is due without usage, f(0), is posted then.

The rater opens a month with the first usage of it that it rates, in the same transaction, and
every second those that have none; so that line items are f(quantity) for a silent customer too.
"""

from collections.abc import Collection, Iterator
from datetime import datetime

from services.rater import ledger
from services.rater.posting import LineItem, kind_of, line_items
from services.rater.pricing import price
from services.rater.pricing.bands import ZERO
from services.rater.rules import Rules, begin_posting, know_contracts
from services.rater.terms import Contract, PostingState
from shared.database import Connection, Pool
from shared.periods import Period

_UNOPENED = """
    SELECT c.id FROM contracts c
    WHERE c.starts_at < $2 AND (c.ends_at IS NULL OR c.ends_at > $1)
      AND NOT EXISTS (
          SELECT FROM contract_months m WHERE m.contract_id = c.id AND m.period = $3)
"""


async def open_months(pool: Pool, now: datetime) -> int:
    """Open every month, up to the present one, that contracts have entered.

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
    month = (period.start, period.end, str(period))
    if not await connection.fetchval(f"SELECT EXISTS ({_UNOPENED})", *month):
        return 0
    rules = Rules()
    async with connection.transaction():
        state = await begin_posting(connection, rules)
        found = [row["id"] for row in await connection.fetch(_UNOPENED, *month)]
        await know_contracts(connection, rules, found)
        return await open_contract_months(
            connection, rules, state, {(one, str(period)) for one in found}
        )


async def open_contract_months(
    connection: Connection,
    rules: Rules,
    state: PostingState,
    months: Collection[tuple[str, str]],
) -> int:
    """Open contracts' months that are not open yet, and post what is due without usage.

    Call it before the months' usage is added, in the same transaction. Gives how many it was.
    """
    wanted = sorted(months)
    rows = await connection.fetch(
        "INSERT INTO contract_months (contract_id, period)"
        " SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING"
        " RETURNING contract_id, period::text",
        [contract_id for contract_id, _ in wanted],
        [period for _, period in wanted],
    )
    items: list[LineItem] = []
    for contract_id, period in map(tuple, rows):
        items += _due_without_usage(rules.by_id[contract_id], Period.parse(period), state)
    await ledger.post(connection, items)
    return len(rows)


def _due_without_usage(
    contract: Contract, period: Period, state: PostingState
) -> Iterator[LineItem]:
    coverage = contract.coverage(period)
    if coverage is None:
        return
    for charge in contract.charges:
        bands = price(charge, ZERO, coverage)
        yield from line_items(contract, charge.code, bands, str(period), state, kind_of(charge))
