"""Reads a month's figures: Kafka's offsets, the books in Postgres, the invoices at Stripe."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.invoicer.patience import Patience
from services.invoicer.reconciliation import books, metered
from services.invoicer.reconciliation.figures import (
    Figures,
    LogPartition,
    StripeFigures,
    TheirCredit,
    TheirInvoice,
)
from services.invoicer.stripe_gateway import StripeGateway
from services.invoicer.stripe_objects import StripeFault, StripeInvoice, StripeLine
from shared.broker import end_offsets
from shared.periods import Period
from shared.settings import Settings

_CONCURRENT_READS = 8
_CLOCK_SKEW = timedelta(days=2)
"""A month's invoices are made after it, by Stripe's clock too, give or take this."""


async def gather(
    settings: Settings, engine: AsyncEngine, gateway: StripeGateway, period: Period
) -> Figures:
    """Read all figures of a month, those of Postgres in one snapshot.

    The log's ends are asked for after the snapshot is taken, so that what comes in meanwhile
    is seen as in flight. Raises `KafkaUnavailableError` and `StripeFault`.
    """
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        # Compiling the one large query would take longer than it gains.
        await connection.execute(text("SET LOCAL jit = off"))
        log = await books.read_log(connection, settings.usage_topic)
        invoices = await books.read_invoices(connection, period)
        credited = await books.read_credits(connection, period)
        meters = await metered.read_meters(connection)
        events = await metered.read_events(connection, period, meters)
        charges = await books.read_charges(connection, period, events.quantities)
        posted = await books.read_posted(connection, period)
        set_aside = await books.read_set_aside(connection, settings.usage_topic)
        moved = await books.read_moved_rows(connection, settings.usage_topic)
        closed, run_state = await books.read_states(connection, period)
    ends = await end_offsets(settings)
    known = [one.stripe_invoice_id for one in invoices if one.stripe_invoice_id]
    stripe = await _read_stripe(gateway, period, known)
    return Figures(
        period=str(period),
        closed=closed,
        run_state=run_state,
        log=_with_ends(log, ends, _where_first(events.rows, moved)),
        events=events.month,
        charges=charges,
        posted=posted,
        invoices=invoices,
        credits=credited,
        stripe=stripe,
        set_aside=set_aside,
    )


def _where_first(rows: Mapping[int, int], moved: Mapping[int, int]) -> dict[int, int]:
    """Count events by the partition on which their name stood first."""
    partitions = {*rows, *moved}
    return {one: rows.get(one, 0) + moved.get(one, 0) for one in partitions}


def _with_ends(
    log: Sequence[LogPartition], ends: Mapping[int, int], rows: Mapping[int, int]
) -> list[LogPartition]:
    """Add the log's own ends, and the events that stand in the table, by partition."""
    known = {one.partition: one for one in log}
    partitions = sorted({*known, *ends, *rows})
    blank = LogPartition(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return [
        replace(
            known.get(partition, blank),
            partition=partition,
            end=ends.get(partition, 0),
            rows=rows.get(partition, 0),
        )
        for partition in partitions
    ]


async def _read_stripe(
    gateway: StripeGateway, period: Period, known: Collection[str]
) -> StripeFigures:
    """Read what Stripe holds: what says in its metadata that it is of the month, and what is
    known here to be, wherever it says it belongs.
    """
    since = int((period.end - _CLOCK_SKEW).timestamp())
    patience = Patience()
    listed = await patience.call(lambda: _listed(gateway, since))
    ids = {one.id for one in listed}
    unlisted = [one for one in known if one not in ids]
    gate = asyncio.Semaphore(_CONCURRENT_READS)

    async def read_known(stripe_invoice: str) -> StripeInvoice | None:
        async with gate:
            try:
                return await patience.call(lambda: gateway.invoice(stripe_invoice))
            except StripeFault as fault:
                if fault.missing:
                    return None
                raise

    async def read_lines(invoice: StripeInvoice) -> TheirInvoice:
        lines: Sequence[StripeLine] = invoice.lines.data
        if invoice.lines.has_more:
            async with gate:
                lines = await patience.call(lambda: gateway.lines(invoice.id))
        return _their_invoice(invoice, lines)

    more = await asyncio.gather(*(read_known(one) for one in unlisted))
    all_read = [*listed, *(one for one in more if one is not None)]
    of_month = [
        one
        for one in all_read
        if one.id in known or (one.billing_key and one.facts.get("period") == str(period))
    ]
    rest = [one for one in all_read if one not in of_month]
    notes = await patience.call(lambda: gateway.credit_notes(since=since))
    ids_of_month = {one.id for one in of_month}
    return StripeFigures(
        credits=[
            TheirCredit(one.id, one.credit, one.currency.upper(), one.total, one.status == "void")
            for one in notes
            if one.invoice in ids_of_month
        ],
        of_month=await asyncio.gather(*(read_lines(one) for one in of_month)),
        other_months=[one.id for one in rest if one.billing_key],
        foreign=[one.id for one in rest if not one.billing_key],
    )


async def _listed(gateway: StripeGateway, since: int) -> list[StripeInvoice]:
    return [one async for one in gateway.invoices_since(since)]


def _their_invoice(invoice: StripeInvoice, lines: Sequence[StripeLine]) -> TheirInvoice:
    return TheirInvoice(
        id=invoice.id,
        billing_key=invoice.billing_key,
        currency=invoice.currency.upper(),
        status=invoice.status or "",
        subtotal_minor=invoice.subtotal,
        total_minor=invoice.total,
        payload_sha256=invoice.facts.get("payload_sha256"),
        lines=[(line.position, line.description, line.amount) for line in lines],
    )
