"""Moves events to another contract where, by a change, the one they were rated under ended."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from services.rater.repricing import count_and_reprice
from services.rater.rules import Rules, begin_posting
from shared.database import asyncpg_connection
from shared.periods import Period


async def move_usage(
    session: AsyncSession, contract_id: str, *, since: datetime, to: str | None
) -> None:
    """Move a contract's events from a moment on to another contract, or to none (unpriced).

    The line items that stand are never touched: new ones take the old contract to f of what
    it keeps and the new one to f of what it gets (I5), and fees to the days that each covers.
    Call it in the transaction that changed the contract, under the posting lock.
    """
    connection = await asyncpg_connection(session)
    rules = Rules()
    state = await begin_posting(connection, rules)
    await connection.execute(
        "UPDATE events SET contract_id = $3, batch_id = $4 WHERE contract_id = $1 AND time >= $2",
        contract_id,
        since,
        to,
        state.batch_id,
    )
    rows = await connection.fetch(
        "SELECT period::text FROM contract_months WHERE contract_id = $1 AND period >= $2",
        contract_id,
        str(Period.of(since)),
    )
    periods = [row["period"] for row in rows]
    contracts = [contract_id] if to is None else [contract_id, to]
    months = {(contract, period) for contract in contracts for period in periods}
    await count_and_reprice(connection, rules, state, months)
