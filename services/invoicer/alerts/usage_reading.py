"""What customers have used of meters in some months. I/O: reads of Postgres.

Quantities are the rater's running totals, added up over the contracts that share a month as
`tallybook usage` does: by sum, by the highest, or by what is distinct. No event is looked at.
"""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.invoicer.alerts.reaching import Measure, Measured

_USED = text(
    "WITH used AS ("
    "  SELECT c.customer_id, u.usage_period, u.meter, array_agg(u.contract_id) AS contracts,"
    "   sum(u.quantity) AS added, max(u.quantity) AS highest"
    "  FROM contracts c JOIN usage_totals u ON u.contract_id = c.id"
    "  WHERE u.usage_period = ANY(CAST(:months AS text[])) AND u.meter = ANY(:meters)"
    "   AND u.dimension = '' AND u.value = ''"
    "   AND (cardinality(CAST(:customers AS text[])) = 0 OR c.customer_id = ANY(:customers))"
    "  GROUP BY 1, 2, 3)"
    " SELECT u.customer_id, u.usage_period::text AS period, u.meter,"
    " CASE WHEN cardinality(u.contracts) = 1 OR m.definition ->> 'aggregate' = 'max'"
    "  THEN u.highest"
    "  WHEN m.definition ->> 'aggregate' = 'unique_count' THEN"
    "   (SELECT count(DISTINCT o.member)::numeric FROM usage_members o"
    "    WHERE o.contract_id = ANY(u.contracts) AND o.usage_period = u.usage_period"
    "     AND o.meter = u.meter AND o.dimension = '')"
    "  ELSE u.added END AS quantity"
    " FROM used u JOIN meters m ON m.code = u.meter"
)


async def read_usage(
    session: AsyncSession, months: Sequence[str], meters: Sequence[str], customers: Sequence[str]
) -> dict[Measured, Decimal]:
    """Give quantities of meters in months of use, of some customers; none named means all."""
    asked = {"months": list(months), "meters": list(meters), "customers": list(customers)}
    return {
        Measured(row.customer_id, row.period, Measure(row.meter, None)): row.quantity
        for row in await session.execute(_USED, asked)
    }
