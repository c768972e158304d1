"""Reads what was carried forward and waits. I/O: reads of Postgres."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.carried.balances import Balance
from shared.periods import Period

_BALANCES = text(
    "WITH RECURSIVE waiting AS ("
    " SELECT i.id, i.customer_id, i.currency, i.period::text AS period, i.total_minor"
    " FROM invoices i WHERE i.state = 'carried_forward'"
    " AND (CAST(:before AS text) IS NULL OR i.period < :before)"
    " AND NOT EXISTS (SELECT FROM invoice_carries c WHERE c.source_id = i.id)"
    "), origins AS ("
    " SELECT id, customer_id, currency, period FROM waiting"
    " UNION ALL SELECT s.id, s.customer_id, s.currency, s.period::text FROM origins o"
    " JOIN invoice_carries c ON c.invoice_id = o.id JOIN invoices s ON s.id = c.source_id"
    "), oldest AS ("
    " SELECT customer_id, currency, min(period) AS since FROM origins GROUP BY 1, 2"
    ") SELECT w.customer_id, w.currency, sum(w.total_minor)::bigint AS amount_minor, o.since,"
    " array_agg(w.id ORDER BY w.period, w.id) AS invoices,"
    " NOT EXISTS (SELECT FROM contracts c JOIN plan_versions p ON p.id = c.plan_version_id"
    " WHERE c.customer_id = w.customer_id AND p.currency = w.currency"
    " AND (c.ends_at IS NULL OR c.ends_at > :at)) AS is_last"
    " FROM waiting w JOIN oldest o USING (customer_id, currency)"
    " GROUP BY w.customer_id, w.currency, o.since ORDER BY 1, 2"
)


async def read_balances(
    session: AsyncSession, *, at: datetime, before: Period | None = None
) -> list[Balance]:
    """Give what waits, by customer and currency, and whether a contract runs on after `at`.

    With `before`, only what earlier months than that one left.
    """
    month = None if before is None else str(before)
    rows = await session.execute(_BALANCES, {"before": month, "at": at})
    return [Balance(*row) for row in rows]
