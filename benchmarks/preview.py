"""``python -m benchmarks.preview``: a month's preview of many customers, over HTTP.

The line items are those that a rater writes of ten million events in batches of 50,000: one of
each customer a batch. They are made in Postgres, like the events, as rating is measured elsewhere.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import asyncpg
import httpx

from benchmarks import steps
from infra.local.installation import Installation
from infra.local.up import run_until_stopped
from shared.console import as_json, err, out
from shared.periods import Period

EVENTS_EACH_BATCH = 50_000
_SECONDS = 1_200


@dataclass(frozen=True, slots=True)
class Previewed:
    """How long a preview took, and what it was of; the answer is in bytes."""

    customers: int
    events: int
    line_items: int
    seconds: float
    answer: int


async def measure(customers: int, events: int) -> Previewed:
    """Prepare a month, ask for its preview twice, and give the second, as Postgres is warm then."""
    with tempfile.TemporaryDirectory(prefix="tallybook-preview-") as directory:
        async with Installation(Path(directory), services=("rater", "invoicer")) as installation:
            period = Period.of(datetime.now(UTC)).previous()
            headers = {"Authorization": f"Bearer {installation.addresses.finance_key}"}
            await _apply_catalogue(installation.settings.rater_url, headers)
            await installation.stack.supervisor.stop("rater")
            err.print(f"{events:,} events …")
            await steps.fill(installation, events, period.next())
            err.print("line items …")
            count = await _post(installation, customers, events // EVENTS_EACH_BATCH, period)
            url = f"{installation.settings.invoicer_url}/v1/periods/{period}/preview"
            async with httpx.AsyncClient(headers=headers, timeout=_SECONDS) as http:
                for name in ("preview, first time …", "preview …"):
                    err.print(name)
                    started = time.monotonic()
                    answer = (await http.get(url)).raise_for_status()
                    seconds = time.monotonic() - started
            assert len(answer.json()["invoices"]) == customers
    return Previewed(customers, events, count, round(seconds, 2), len(answer.content))


async def _apply_catalogue(rater_url: str, headers: dict[str, str]) -> None:
    catalogue = files("services.rater.catalogue").joinpath("bizbot.yaml").read_bytes()
    yaml = {**headers, "Content-Type": "application/yaml"}
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.post(f"{rater_url}/v1/catalogue", content=catalogue, headers=yaml)
        answer.raise_for_status()


async def _post(installation: Installation, customers: int, batches: int, period: Period) -> int:
    """Write what the rater would have: customers on `byok`, and their line items."""
    connection = await asyncpg.connect(installation.settings.postgres())
    try:
        await connection.execute(
            "INSERT INTO customers SELECT 'customer-' || n, 'Customer ' || n,"
            " 'customer-' || n || '@example.com', 'USD', now() FROM generate_series(1, $1::int) n",
            customers,
        )
        await connection.execute(
            "INSERT INTO contracts (id, customer_id, plan_version_id, starts_at, created_at)"
            " SELECT 'con-' || n, 'customer-' || n,"
            " (SELECT id FROM plan_versions WHERE plan = 'byok'), $2::timestamptz, now()"
            " FROM generate_series(1, $1::int) n",
            customers,
            period.start,
        )
        done = await connection.execute(
            "INSERT INTO line_items (batch_id, customer_id, contract_id, charge, band, quantity,"
            " unit_price, amount, currency, usage_period, posting_period, kind)"
            " SELECT batch, 'customer-' || n, 'con-' || n, 'executions', 'all', 5, 0.002, 0.010,"
            " 'USD', $3, $3, 'usage'"
            " FROM generate_series(1, $2::int) batch, generate_series(1, $1::int) n",
            customers,
            batches,
            str(period),
            timeout=_SECONDS,
        )
        await connection.execute("VACUUM (ANALYZE) line_items", timeout=_SECONDS)
        return int(done.rpartition(" ")[2])
    finally:
        await connection.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.preview", description=__doc__)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    found = run_until_stopped(measure(arguments.customers, arguments.events))
    if found is None:
        sys.exit(130)
    if arguments.json:
        sys.stdout.write(as_json(found) + "\n")
    else:
        out.print(
            f"preview of {found.customers:,} customers, from {found.line_items:,} line items of"
            f" {found.events:,} events: {found.seconds} s, {found.answer / 2**20:.1f} MiB"
        )


if __name__ == "__main__":
    main()
