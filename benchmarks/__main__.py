"""``python -m benchmarks``: measures on an embedded stack of its own, and prints a table."""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import httpx
from rich.table import Table

from benchmarks import events as made
from benchmarks import steps
from infra.local.installation import Installation
from infra.local.up import run_until_stopped
from shared.console import as_json, err, out
from shared.periods import Period


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured rate beside its ceiling, and what became of the events."""

    step: str
    events_per_second: int
    ceiling: str
    ceiling_per_second: int
    of_ceiling: str
    lost: int
    doubled: int


async def measure(count: int) -> list[Figure]:
    """Measure everything, once, on one installation."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as directory:
        async with Installation(Path(directory), services=("ingest",)) as installation:
            err.print("set up …")
            period = Period.of(datetime.now(UTC)).previous()
            await _set_up(installation, period)
            events = list(made.events(count, period))
            await steps.produce(installation, events[: count // 5], "warm-up")
            err.print("bare producer …")
            produced = await steps.produce(installation, events, "bare")
            err.print("ingest …")
            taken = await steps.ingest(installation, events)
            err.print("bare COPY …")
            copied = await steps.copy(installation, events)
            err.print("rating …")
            rated = await steps.rate(installation)
            stored, different, billed = await steps.count_rated(installation)
    return [
        _figure(
            "ingest over HTTP, batches of 100, acks=all, one process",
            taken,
            "bare producer, acks=all",
            produced,
            lost=count - rated.events,
            doubled=rated.events - count,
        ),
        _figure(
            "rating: log to line items, exactly once",
            rated,
            "COPY of the same rows",
            copied,
            lost=max(count - different, made.billable(count) - billed),
            doubled=max(stored - different, billed - made.billable(count)),
        ),
    ]


def _figure(
    step: str, rate: steps.Rate, ceiling: str, best: steps.Rate, *, lost: int, doubled: int
) -> Figure:
    return Figure(
        step,
        round(rate.per_second),
        ceiling,
        round(best.per_second),
        f"{rate.per_second / best.per_second:.0%}",
        max(0, lost),
        max(0, doubled),
    )


async def _set_up(installation: Installation, period: Period) -> None:
    """Apply the catalogue and put every customer on a plan, by the rater's own interface."""
    await installation.start_service("rater")
    headers = {"Authorization": f"Bearer {installation.addresses.finance_key}"}
    async with httpx.AsyncClient(
        base_url=installation.settings.rater_url, headers=headers, timeout=60
    ) as rater:
        catalogue = files("services.rater.catalogue").joinpath("bizbot.yaml").read_bytes()
        answer = await rater.post(
            "/v1/catalogue", content=catalogue, headers={"Content-Type": "application/yaml"}
        )
        answer.raise_for_status()
        for index in range(made.CUSTOMERS):
            customer = made.customer(index)
            body = {"id": customer, "name": customer, "email": f"{customer}@example.com"}
            (await rater.post("/v1/customers", json=body)).raise_for_status()
            contract = {"plan": "byok", "from": period.start.isoformat()}
            answer = await rater.post(f"/v1/customers/{customer}/contracts", json=contract)
            answer.raise_for_status()
    await installation.stack.supervisor.stop("rater")


def main() -> None:
    """Measure and print; exit 1 if an event was lost or doubled."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="how many events")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    count = max(1_000, arguments.events // steps.BATCH * steps.BATCH)
    figures = run_until_stopped(measure(count))
    if figures is None:
        sys.exit(130)
    if arguments.json:
        sys.stdout.write(as_json({"events": count, "figures": figures}) + "\n")
    else:
        table = Table(title=f"{count:,} events", title_justify="left")
        for name in ("step", "events/s", "ceiling", "events/s", "of ceiling", "lost", "doubled"):
            table.add_column(name)
        for figure in figures:
            table.add_row(
                figure.step,
                f"{figure.events_per_second:,}",
                figure.ceiling,
                f"{figure.ceiling_per_second:,}",
                figure.of_ceiling,
                str(figure.lost),
                str(figure.doubled),
            )
        out.print(table)
    if any(figure.lost or figure.doubled for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
