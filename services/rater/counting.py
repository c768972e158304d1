"""Counts contracts' months from the stored events, as if they came for the first time.

I/O: reads of Postgres, in the caller's transaction. Events that were voided are left out.
"""

from collections.abc import Callable, Collection

from services.rater.batch import EventColumns
from services.rater.rereading import EVENT_COLUMNS, stored_event
from services.rater.rules import Rules
from services.rater.tallying import UsageChange, UsageTally
from shared.database import Connection
from shared.periods import Period

_PART = 5_000

_EVENTS = (
    f"SELECT {EVENT_COLUMNS}, e.contract_id FROM events e WHERE NOT e.voided"
    " AND e.time >= $1 AND e.time < $2 AND e.contract_id = ANY($3)"
)


async def count_usage(
    connection: Connection,
    rules: Rules,
    months: Collection[tuple[str, str]],
    on_progress: Callable[[int], object] = lambda _events: None,
) -> UsageChange:
    """Count the events of contracts' months; `on_progress` is told how many more were read."""
    tally = UsageTally()
    if not months:
        return tally.change(rules.prices)
    wanted = set(months)
    periods = sorted({Period.parse(period) for _, period in wanted})
    cursor = await connection.cursor(
        _EVENTS,
        periods[0].start,
        periods[-1].end,
        sorted({contract_id for contract_id, _ in wanted}),
    )
    while rows := await cursor.fetch(_PART):
        events = [stored_event(row, rules.meters) for row in rows]
        contract_ids: list[str | None] = [
            row["contract_id"]
            if (row["contract_id"], str(Period.of(event.time))) in wanted
            else None
            for row, event in zip(rows, events, strict=True)
        ]
        tally.add(EventColumns.of(events), contract_ids, rules.prices)
        on_progress(len(rows))
    return tally.change(rules.prices)
