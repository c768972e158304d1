"""What every customer's open months come to so far. I/O: reads of Postgres.

It is the sum of the line items that will be on the month's invoice, recurring fees and late usage
of earlier months among them, before anything is rounded and before what is carried forward. Line
items are only ever added, so that each is read once, and its amount kept here.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.alerts.reaching import Measure, Measured
from shared.database import POSTING_LOCK
from shared.money import EXACT

_PAUSE = 0.05

_LAST = text("SELECT coalesce(max(id), 0) FROM line_items")
_POSTING = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND classid = 0 AND objid = :lock AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_SPENT = text(
    "SELECT customer_id, posting_period::text AS period, currency, id <= :settled AS settled,"
    " sum(amount) AS amount FROM line_items"
    " WHERE id > :counted AND posting_period = ANY(CAST(:months AS text[])) GROUP BY 1, 2, 3, 4"
)


class Spending:
    """The spend of every customer in some months, read on from where it was read last."""

    def __init__(self, *, patience: float = 5.0) -> None:
        """Make one that has read nothing; `patience` is how long it waits for who is posting."""
        self._patience = patience
        self._months: list[str] = []
        self._counted = 0
        self._sums: dict[Measured, Decimal] = {}

    async def read(self, session: AsyncSession, months: Sequence[str]) -> dict[Measured, Decimal]:
        """Give what customers' months come to, in each currency; other months are read anew."""
        if list(months) != self._months:
            self._months, self._counted, self._sums = list(months), 0, {}
        settled = await self._settled(session)
        asked = {"counted": self._counted, "settled": settled, "months": self._months}
        rows = (await session.execute(_SPENT, asked)).all()
        for row in rows:
            if row.settled:
                _add(self._sums, row)
        self._counted = settled
        totals = dict(self._sums)
        for row in rows:
            if not row.settled:
                _add(totals, row)
        return totals

    async def _settled(self, session: AsyncSession) -> int:
        """Give an id below which no line item can appear any more.

        Ids are given out before they can be seen, so that one below the last may still come, of
        a transaction that is under way. Whoever posts holds the posting lock all the while:
        once those who hold it now are done, all up to the last id is there or never will be.
        """
        last = int(await session.scalar(_LAST) or 0)
        posting = await self._who_is_posting(session)
        waited = 0.0
        while posting:
            if waited >= self._patience:
                return self._counted
            await asyncio.sleep(_PAUSE)
            waited += _PAUSE
            posting &= await self._who_is_posting(session)
        return last

    async def _who_is_posting(self, session: AsyncSession) -> set[str]:
        rows = await session.execute(_POSTING, {"lock": POSTING_LOCK})
        return {row.virtualtransaction for row in rows}


def _add(sums: dict[Measured, Decimal], row: Any) -> None:
    key = Measured(row.customer_id, row.period, Measure(None, row.currency))
    sums[key] = EXACT.add(sums.get(key, Decimal(0)), row.amount)
