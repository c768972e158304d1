"""``python -m benchmarks.invoices``: how fast invoices get to the Stripe sandbox, and in what pace.

Three months of the same customers: their first invoices, ordinary ones, and ordinary ones under
Stripe's live limits. Each invoice has three lines. I/O: an embedded stack of its own.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import asyncpg
import httpx
import uvloop
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from infra.local.installation import Installation
from infra.local.up import run_until_stopped
from services.invoicer.pace import ENDPOINT_CALLS_PER_SECOND, LIVE_CALLS_PER_SECOND
from services.invoicer.runs import start_run
from services.invoicer.sending import Sender
from services.invoicer.steering import begin
from services.invoicer.stripe_gateway import StripeGateway
from services.rater import contracts
from services.rater.catalogue import store
from services.rater.catalogue.document import read_catalogue
from shared.clock import present
from shared.console import as_json, err, out
from shared.cycles import look_seldom_for_cycles
from shared.database import open_engine
from shared.periods import Period
from shared.settings import Settings

ACTOR = "benchmarks"
FIRST = "customer-00001"
_CUSTOMERS = """
    INSERT INTO customers SELECT (jsonb_populate_record(c, jsonb_build_object(
        'id', made, 'email', made || '@example.com'))).*
    FROM customers c, unnest($2::text[]) AS made WHERE c.id = $1
"""
_CONTRACTS = """
    INSERT INTO contracts SELECT (jsonb_populate_record(c, jsonb_build_object(
        'id', 'con_' || made, 'customer_id', made))).*
    FROM contracts c, unnest($2::text[]) AS made WHERE c.customer_id = $1
"""
_OPENED = "INSERT INTO contract_months (contract_id, period) SELECT id, $1 FROM contracts"
_LINE_ITEMS = """
    INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity, unit_price,
        amount, currency, usage_period, posting_period, kind)
    SELECT 1, customer_id, id, 'executions', 'band ' || band, 1000, 0.01, 10, 'USD', $1, $1, 'usage'
    FROM contracts, generate_series(1, 3) AS band
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a month's sending took; `times_the_least` is beside calls ÷ limit, None without."""

    step: str
    invoices: int
    seconds: float
    invoices_per_second: float
    calls_per_invoice: float
    times_the_least: float | None


async def measure(count: int) -> list[Figure]:
    """Send the three months."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as directory:
        async with Installation(Path(directory), services=()) as installation:
            settings = installation.settings
            last = Period.of(datetime.now(UTC)).previous()
            before = last.previous()
            err.print("set up …")
            await _customers(settings, before.previous(), count)
            live = {
                "stripe_calls_per_second": LIVE_CALLS_PER_SECOND,
                "stripe_endpoint_calls_per_second": ENDPOINT_CALLS_PER_SECOND,
            }
            paced = settings.model_copy(update=live)
            return [
                await _month(
                    "first invoices", settings, before.previous(), settings.invoicer_workers
                ),
                await _month("ordinary invoices", settings, before, settings.invoicer_workers),
                await _month("ordinary invoices, under the live limits", paced, last, 32),
            ]


async def _customers(settings: Settings, start: Period, count: int) -> None:
    """Make customers with contracts: one by the rater's own code, the others like it."""
    engine = open_engine(settings, "tallybook_rater")
    now = datetime.now(UTC)
    text = files("services.rater.catalogue").joinpath("bizbot.yaml").read_text(encoding="utf-8")
    async with AsyncSession(engine, expire_on_commit=False) as session:
        await store.apply(session, read_catalogue(text, name="catalogue"), actor=ACTOR, now=now)
        await contracts.add_customer(
            session,
            customer_id=FIRST,
            name="Customer",
            email=f"{FIRST}@example.com",
            currency="USD",
            actor=ACTOR,
            now=now,
        )
        await contracts.start_contract(
            session,
            customer_id=FIRST,
            plan="byok",
            starts_at=start.start,
            terms=contracts.Terms(),
            actor=ACTOR,
            now=now,
        )
    await engine.dispose()
    others = [f"customer-{number:05d}" for number in range(2, count + 1)]
    connection = await asyncpg.connect(settings.postgres())
    for statement in (_CUSTOMERS, _CONTRACTS):
        await connection.execute(statement, FIRST, others)
    await connection.close()


async def _month(step: str, settings: Settings, period: Period, workers: int) -> Figure:
    """Post a month's line items, freeze its invoices, and measure how they are sent."""
    err.print(f"{step} …")
    connection = await asyncpg.connect(settings.postgres())
    for statement in (_OPENED, _LINE_ITEMS):
        await connection.execute(statement, str(period))
    await connection.close()
    engine = open_engine(settings, "tallybook_invoicer")
    run = await start_run(settings, engine, period, actor=ACTOR, clock=present)
    await begin(engine, run.id, approval_by="nobody", actor=ACTOR)
    calls_before = await _calls(settings)
    started = time.monotonic()
    async with StripeGateway(settings) as gateway:
        sent = await Sender(engine, gateway, workers=workers).send(run.id)
    seconds = time.monotonic() - started
    await engine.dispose()
    if sent.state != "done":
        raise RuntimeError(f"{run.id} is {sent.state}")
    calls = await _calls(settings)
    made = sum(calls.values()) - sum(calls_before.values())
    invoices = calls["invoices.create"] - calls_before.get("invoices.create", 0)
    limit = settings.stripe_calls_per_second
    return Figure(
        step,
        invoices,
        round(seconds, 1),
        round(invoices / seconds, 1),
        round(made / invoices, 2),
        None if limit is None else round(seconds / (made / limit), 2),
    )


async def _calls(settings: Settings) -> dict[str, int]:
    """Count the calls that the sandbox has answered, by operation."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{settings.stripe_api_base}/_sandbox/state")
        counted: dict[str, int] = answer.json()["requests"]
        return counted


def show(figures: Sequence[Figure]) -> Table:
    """Put the figures into a table."""
    table = Table(title="Invoices of three lines each", title_justify="left")
    for name in ("step", "invoices", "s", "invoices/s", "calls each", "× calls ÷ limit"):
        table.add_column(name)
    for one in figures:
        table.add_row(
            one.step,
            f"{one.invoices:,}",
            f"{one.seconds:g}",
            f"{one.invoices_per_second:g}",
            f"{one.calls_per_invoice:g}",
            "no limit" if one.times_the_least is None else f"{one.times_the_least:g}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.invoices", description=__doc__)
    parser.add_argument("--invoices", type=int, default=1_000, help="how many in each month")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    uvloop.install()  # this and the next as the invoicer runs
    look_seldom_for_cycles()
    figures = run_until_stopped(measure(max(10, arguments.invoices)))
    if figures is None:
        sys.exit(130)
    if arguments.json:
        sys.stdout.write(as_json({"figures": figures}) + "\n")
    else:
        out.print(show(figures))


if __name__ == "__main__":
    main()
