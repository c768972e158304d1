"""Counts contracts' months from the stored events, as if they came for the first time.

I/O: reads of Postgres, in the caller's transaction. Events that were voided are left out.
"""

from collections.abc import Callable, Collection

from services.rater.rating import tally_usage
from services.rater.rereading import EVENT_COLUMNS, stored_event
from services.rater.rules import Rules
from services.rater.tallying import UsageChange, UsageTally
from shared.database import Connection
from shared.periods import Period

_PREFETCH = 5_000

_EVENTS = (
    f"SELECT {EVENT_COLUMNS}, e.contract_id FROM events e WHERE NOT e.voided"
    " AND e.time >= $1 AND e.time < $2 AND e.contract_id = ANY($3)"
)


async def count_usage(
    connection: Connection,
    rules: Rules,
    months: Collection[tuple[str, str]],
    on_event: Callable[[], object] = lambda: None,
) -> UsageChange:
    """Count the events of contracts' months; `on_event` is called for each that was read."""
    tally = UsageTally()
    if not months:
        return tally.change(rules.prices)
    wanted = set(months)
    periods = sorted({Period.parse(period) for _, period in wanted})
    cursor = connection.cursor(
        _EVENTS,
        periods[0].start,
        periods[-1].end,
        sorted({contract_id for contract_id, _ in wanted}),
        prefetch=_PREFETCH,
    )
    async for row in cursor:
        on_event()
        contract_id: str = row["contract_id"]
        event = stored_event(row, rules.meters)
        if (contract_id, str(Period.of(event.time))) in wanted:
            tally_usage([event], [contract_id], rules.prices, tally)
    return tally.change(rules.prices)
