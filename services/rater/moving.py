"""Moves usage that was rated under a contract which, by a change, no longer covers it.

The line items that stand are never touched: new ones take the old contract to f(what it
keeps) and the new contract to f(what it gets), so that I4 holds for both (I5).
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from services.rater import ledger
from services.rater.metering import UsageKey, UsageTally
from services.rater.months import post_month
from services.rater.posting import usage_line_items
from services.rater.rating import tally_usage
from services.rater.records import StoredEvent
from services.rater.rereading import EVENT_COLUMNS, stored_event
from services.rater.rules import Rules, begin_posting, know_customers
from services.rater.terms import PostingState
from shared.database import Connection, asyncpg_connection
from shared.money import EXACT
from shared.periods import Period

_BATCH = 50_000


async def move_usage(
    session: AsyncSession, contract_id: str, *, since: datetime, to: str | None
) -> None:
    """Move a contract's usage from a moment on to another contract, or to none (unpriced).

    Call it in the transaction that changed the contract, under the posting lock.
    """
    connection = await asyncpg_connection(session)
    rules = Rules()
    state = await begin_posting(connection, rules)
    customer = await connection.fetchval(
        "SELECT customer_id FROM contracts WHERE id = $1", contract_id
    )
    await know_customers(connection, rules, [customer])
    while events := await _take(connection, rules, state, contract_id, since, to):
        await _post_tally(connection, rules, state, events, contract_id, sign=-1)
        if to is not None:
            await _post_tally(connection, rules, state, events, to, sign=1)
    rows = await connection.fetch(
        "SELECT period::text FROM contract_months WHERE contract_id = $1 AND period >= $2",
        contract_id,
        str(Period.of(since)),
    )
    for row in rows:
        period = Period.parse(row["period"])
        await post_month(connection, rules.by_id[contract_id], period, state)


async def _take(
    connection: Connection,
    rules: Rules,
    state: PostingState,
    contract_id: str,
    since: datetime,
    to: str | None,
) -> list[StoredEvent]:
    rows = await connection.fetch(
        "UPDATE events e SET contract_id = $3, batch_id = $4"
        " WHERE (e.source, e.id) IN (SELECT source, id FROM events"
        " WHERE contract_id = $1 AND time >= $2 LIMIT $5)"
        f" RETURNING {EVENT_COLUMNS}",
        contract_id,
        since,
        to,
        state.batch_id,
        _BATCH,
    )
    return [stored_event(row, rules.meters) for row in rows]


async def _post_tally(
    connection: Connection,
    rules: Rules,
    state: PostingState,
    events: Sequence[StoredEvent],
    contract_id: str,
    *,
    sign: int,
) -> None:
    tally = UsageTally()
    tally_usage(events, [contract_id] * len(events), tally)
    added: dict[UsageKey, Decimal] = {
        key: EXACT.multiply(Decimal(sign), quantity) for key, quantity in tally.quantities().items()
    }
    if added:
        totals = await ledger.add_usage(connection, added)
        items = usage_line_items(added, totals, rules.by_id, state, "adjustment")
        await ledger.post(connection, items)
