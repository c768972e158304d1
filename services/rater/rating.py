"""Handles a batch of records in one transaction: offsets, events, totals and line items.

Whatever the transaction wrote, it wrote together with the new offsets or not at all; so a
crash at any instruction, a redelivery or a second rater changes no total (I2).
"""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal

import asyncpg
from prometheus_client import Counter, Histogram

from services.rater import ledger
from services.rater.metering import UsageKey, UsageTally
from services.rater.posting import usage_line_items
from services.rater.records import Batch, Record, StoredEvent, read_records
from services.rater.rules import Rules, begin_posting, know_customers
from services.rater.terms import PostingState
from shared.database import Connection, Pool
from shared.events import TimeLimits
from shared.periods import Period

RECORDS = Counter("tallybook_rater_records", "Records handled, by what became of them", ["outcome"])
SECONDS = Histogram("tallybook_rater_batch_seconds", "Seconds a batch took")


class Rating:
    """The rater's way from records to the books."""

    def __init__(self, pool: Pool, limits: TimeLimits) -> None:
        self._pool = pool
        self._limits = limits
        self._rules = Rules()
        self._look_first = False

    async def handle(
        self, records: Sequence[Record], expected: Mapping[tuple[str, int], int]
    ) -> dict[tuple[str, int], int]:
        """Handle records; `expected` says where each partition's offset is believed to be.

        Gives the offsets as they are now. Raises `FencedError` where another rater has
        handled the records, and Postgres' own errors where it could not be asked.
        """
        with SECONDS.time():
            async with self._pool.acquire() as connection:
                batch = await self._handle(connection, records, expected)
        for count in batch.counts.values():
            RECORDS.labels("stored").inc(count.stored)
            RECORDS.labels("duplicate").inc(count.duplicates)
            RECORDS.labels("conflict").inc(count.conflicts)
            RECORDS.labels("dead_letter").inc(count.dead_letters)
        return {place: count.next_offset for place, count in batch.counts.items()}

    async def _handle(
        self,
        connection: Connection,
        records: Sequence[Record],
        expected: Mapping[tuple[str, int], int],
    ) -> Batch:
        rules = self._rules
        topic = records[0].topic
        async with connection.transaction():
            state = await begin_posting(connection, rules)
            batch = read_records(records, rules.meters, self._limits)
            await ledger.move_offsets(connection, batch, expected)
            await know_customers(connection, rules, {event.customer_id for event in batch.events})
            added = await self._store(connection, batch, topic, state)
            await post_usage(connection, rules, state, added)
            await ledger.write_batch_log(connection, batch, state.batch_id, expected)
        return batch

    async def _store(
        self, connection: Connection, batch: Batch, topic: str, state: PostingState
    ) -> dict[UsageKey, Decimal]:
        """Store the batch's events, taking out those that are there already; give their usage.

        Most batches hold none, so the events are simply copied in; only where that fails, or
        the batch before had some, are they looked up.
        """
        if self._look_first and batch.events:
            await self._drop_known(connection, batch, topic)
        while batch.events:
            contract_ids = contracts_of(self._rules, batch.events)
            try:
                async with connection.transaction():
                    return await self._copy(connection, batch.events, contract_ids, state)
            except asyncpg.UniqueViolationError:
                await self._drop_known(connection, batch, topic)
        return {}

    async def _copy(
        self,
        connection: Connection,
        events: Sequence[StoredEvent],
        contract_ids: Sequence[str | None],
        state: PostingState,
    ) -> dict[UsageKey, Decimal]:
        """Copy events in, and add up what they used while Postgres still works on the rows."""
        copying = asyncio.ensure_future(
            ledger.copy_events(connection, events, contract_ids, state.batch_id)
        )
        try:
            await asyncio.sleep(0)  # the rows are sent now
            return tally_usage(events, contract_ids).quantities()
        finally:
            await copying

    async def _drop_known(self, connection: Connection, batch: Batch, topic: str) -> None:
        known = await ledger.stored_digests(connection, batch.events)
        batch.drop(known, topic)
        self._look_first = bool(known)


def contracts_of(rules: Rules, events: Sequence[StoredEvent]) -> list[str | None]:
    """Give each event's contract, None where there is none at its time (unpriced)."""
    contract_at = rules.contract_at
    found = [contract_at(event.customer_id, event.time) for event in events]
    return [None if contract is None else contract.id for contract in found]


async def rate(
    connection: Connection,
    rules: Rules,
    state: PostingState,
    events: Sequence[StoredEvent],
    contract_ids: Sequence[str | None],
) -> None:
    """Meter and price events that were stored: totals and line items."""
    await post_usage(connection, rules, state, tally_usage(events, contract_ids).quantities())


async def post_usage(
    connection: Connection, rules: Rules, state: PostingState, added: Mapping[UsageKey, Decimal]
) -> None:
    """Raise the running totals by quantities, and post what that costs."""
    if added:
        totals = await ledger.add_usage(connection, added)
        await ledger.post(connection, usage_line_items(added, totals, rules.by_id, state))


def tally_usage(events: Sequence[StoredEvent], contract_ids: Sequence[str | None]) -> UsageTally:
    """Count events in, each under its contract and the month of its time; unpriced ones not."""
    tally = UsageTally()
    periods: dict[tuple[int, int], str] = {}
    for event, contract_id in zip(events, contract_ids, strict=True):
        if contract_id is None or event.meters is None:
            continue
        month = (event.time.year, event.time.month)
        period = periods.get(month)
        if period is None:
            period = periods[month] = str(Period(*month))
        tally.add(contract_id, period, event.meters, event.group, event.values)
    return tally
