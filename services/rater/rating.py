"""Handles a batch of records in one transaction: offsets, events, totals and line items.

Whatever the transaction wrote, it wrote together with the new offsets or not at all; so a
crash at any instruction, a redelivery or a second rater changes no total (I2).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import chain

import asyncpg
from prometheus_client import Counter, Histogram

from services.rater import ledger
from services.rater.batch import Batch, EventColumns, Record, next_offsets
from services.rater.copy_rows import rows_of
from services.rater.months import open_contract_months
from services.rater.posting import usage_line_items
from services.rater.records import RecordReader
from services.rater.rules import Rules, begin_posting, know_customers
from services.rater.tallying import UsageChange, UsageTally
from services.rater.terms import PostingState
from services.rater.tracing import Processed, follow
from shared.database import Connection, Pool
from shared.events import TimeLimits
from shared.tracing import OFF, Tracing

RECORDS = Counter("tallybook_rater_records", "Records handled, by what became of them", ["outcome"])
SECONDS = Histogram("tallybook_rater_batch_seconds", "Seconds a batch took")
DELAY = Histogram(
    "tallybook_rater_delay_seconds",
    "Seconds from Kafka's timestamp of a batch's oldest record until its line items stood",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600),
)

_PART = 2_500
"""Records read in one go, while Postgres stores the ones before."""


class Rating:
    """The rater's way from records to the books."""

    def __init__(self, pool: Pool, limits: TimeLimits, tracing: Tracing = OFF) -> None:
        self._tracing = tracing
        self._pool = pool
        self._limits = limits
        self._rules = Rules()
        self._look_first = False

    async def handle(
        self,
        runs: Sequence[Sequence[Record]],
        expected: Mapping[tuple[str, int], int],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> dict[tuple[str, int], int]:
        """Handle records, in runs of one partition each, that follow each other.

        `expected` says where each partition's offset is believed to be. `meanwhile` is called
        once there is nothing left to do but to wait for Postgres.
        Gives the offsets as they are now. Raises `FencedError` where another rater has
        handled the records, and Postgres' own errors where it could not be asked.
        """
        following = next_offsets(runs)
        records = list(chain.from_iterable(runs))
        began = time.time_ns()
        with self._tracing.span(f"process {records[0].topic}", kind="consumer") as span:
            with SECONDS.time():
                async with self._pool.acquire() as connection:
                    batch, batch_id = await self._handle(
                        connection, records, expected, following, meanwhile
                    )
            if self._tracing.on:
                follow(self._tracing, span, Processed(records, batch, batch_id, began))
        oldest = min([record.timestamp for record in records])
        DELAY.observe(max(0.0, time.time() - oldest / 1000))
        for count in batch.counts.values():
            RECORDS.labels("stored").inc(count.stored)
            RECORDS.labels("duplicate").inc(count.duplicates)
            RECORDS.labels("conflict").inc(count.conflicts)
            RECORDS.labels("dead_letter").inc(count.dead_letters)
        return following

    async def _handle(
        self,
        connection: Connection,
        records: Sequence[Record],
        expected: Mapping[tuple[str, int], int],
        following: Mapping[tuple[str, int], int],
        meanwhile: Callable[[], object],
    ) -> tuple[Batch, int]:
        """Handle records in one transaction; gives what became of them, and the batch's id."""
        rules, tracing = self._rules, self._tracing
        async with connection.transaction():
            state = await begin_posting(connection, rules)
            await ledger.move_offsets(connection, following, expected)
            with tracing.span("store events"):
                batch, used = await self._store(connection, records, state)
            with tracing.span("post line items"):
                change = used.change(rules.prices)
                meanwhile()
                await post_usage(connection, rules, state, change)
                await ledger.write_batch_log(connection, batch, state.batch_id, expected, following)
            written = time.time_ns()
        tracing.begin("commit", since=written).end()
        rules.opened |= change.contract_months()
        return batch, state.batch_id

    async def _store(
        self, connection: Connection, records: Sequence[Record], state: PostingState
    ) -> tuple[Batch, UsageTally]:
        """Read the records and store their events; give what became of them, and their usage.

        Most batches hold no event that the database holds already, so the events are simply
        copied in; only where that fails, or the batch before had some, are they looked up.
        """
        reader = RecordReader(self._rules.meters, self._limits)
        if not self._look_first:
            try:
                async with connection.transaction():
                    return await self._read_and_copy(connection, reader, records, state)
            except asyncpg.UniqueViolationError:
                reader = RecordReader(self._rules.meters, self._limits)
        reader.read(records)
        return await self._copy_unknown(connection, reader.batch, records[0].topic, state)

    async def _read_and_copy(
        self,
        connection: Connection,
        reader: RecordReader,
        records: Sequence[Record],
        state: PostingState,
    ) -> tuple[Batch, UsageTally]:
        """Copy in what was read, part by part, and read the next part meanwhile."""
        starts = range(0, len(records), _PART)
        parts = (reader.read(records[start : start + _PART]) for start in starts)
        return reader.batch, await self._copy(connection, parts, state)

    async def _copy_unknown(
        self, connection: Connection, batch: Batch, topic: str, state: PostingState
    ) -> tuple[Batch, UsageTally]:
        """Copy in the events that the database does not hold, also if another adds some now."""
        while True:
            known = await ledger.stored_digests(connection, batch.parts)
            batch.drop(known, topic)
            self._look_first = bool(known)
            try:
                async with connection.transaction():
                    return batch, await self._copy(connection, batch.parts, state)
            except asyncpg.UniqueViolationError:
                continue

    async def _copy(
        self, connection: Connection, parts: Iterable[EventColumns], state: PostingState
    ) -> UsageTally:
        """Send events to Postgres, and add up what they used while it stores them.

        All go in one stream, which is broken off only to ask for customers that are new.
        """
        rules = self._rules
        used = UsageTally()
        left = iter(parts)
        part = next(left, None)
        failure: Exception | None = None

        async def rows() -> AsyncIterator[bytes]:
            nonlocal part, failure
            try:
                while part is not None and rules.by_customer.keys() >= set(part.customer_ids):
                    contract_ids = rules.contract_ids(part.customer_ids, part.times)
                    yield rows_of(part, contract_ids, state.batch_id)
                    used.add(part, contract_ids, rules.prices)
                    await asyncio.sleep(0)  # Kafka and whoever asks after the rater get a turn
                    part = next(left, None)
            except Exception as error:
                # Raised here it would leave asyncpg waiting for an answer, where Postgres has
                # refused a row before.
                failure = error

        while part is not None:
            await know_customers(connection, rules, set(part.customer_ids))
            await ledger.copy_events(connection, rows())
            if failure is not None:
                raise failure
        return used


async def rate(
    connection: Connection,
    rules: Rules,
    state: PostingState,
    events: EventColumns,
    contract_ids: Sequence[str | None],
) -> None:
    """Meter and price events that were stored: totals and line items."""
    used = UsageTally()
    used.add(events, contract_ids, rules.prices)
    await post_usage(connection, rules, state, used.change(rules.prices))


async def post_usage(
    connection: Connection, rules: Rules, state: PostingState, change: UsageChange
) -> None:
    """Change the running totals, and post what that costs; months not open yet are opened."""
    if change:
        unopened = change.contract_months() - rules.opened
        if unopened:
            await open_contract_months(connection, rules, state, unopened)
        totals = await ledger.change_usage(connection, change)
        await ledger.post(connection, usage_line_items(totals, rules.by_id, state))
