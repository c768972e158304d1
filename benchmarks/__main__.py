"""``python -m benchmarks``: measures on an embedded stack of its own, and prints a table."""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from benchmarks import events as made
from benchmarks import steps
from benchmarks.beside import rate_beside
from infra.local.installation import Installation
from infra.local.up import run_until_stopped
from shared.console import as_json, err, out
from shared.cycles import look_seldom_for_cycles
from shared.periods import Period

_TURNS = 3
_NONE = steps.Rate(0, 0)


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


@dataclass(frozen=True, slots=True)
class Acks:
    """How long producers waited at half of the highest rate, in milliseconds."""

    events_per_second: int
    p50: float
    p99: float
    longest: float
    single_events_per_second: int


async def measure(count: int, stored: int) -> tuple[list[Figure], Acks]:
    """Measure everything on one installation; beside `stored` events on two of their own."""
    with tempfile.TemporaryDirectory(prefix="tallybook-bench-") as directory:
        async with Installation(Path(directory), services=("ingest",)) as installation:
            err.print("set up …")
            period = Period.of(datetime.now(UTC)).previous()
            await steps.set_up(installation, period)
            await steps.produce(installation, list(made.events(0, count // 5, period)), "warm-up")
            await steps.ingest(installation, list(made.warm_up(count // 5, period)))
            await steps.rate(installation)
            rates = _Rates()
            for turn in range(_TURNS):
                err.print(f"turn {turn + 1} of {_TURNS}: producer, ingest, COPY, rating …")
                events = list(made.events(turn * count, count, period))
                rates.add(await _turn(installation, events, f"bare-{turn}"))
            sent = _TURNS * count
            figures = rates.figures(await steps.count_rated(installation), sent)
            err.print("rating with two raters …")
            await steps.start_second_rater(installation)
            async with steps.nothing_posted(installation):
                await steps.ingest(installation, list(made.events(sent, count, period)))
            both = await steps.rate(installation)
            found = await steps.count_rated(installation)
            figures.append(_rating("rating, two raters", both, rates.copied, found, sent + count))
            await installation.stack.supervisor.stop(steps.SECOND_RATER)
            err.print("acks …")
            acks = await _acks(installation, rates.taken, (sent + count, count, period))
    if stored:
        figures.append(await _beside(count, stored, period))
    return figures, acks


@dataclass(slots=True)
class _Rates:
    """What is measured in turns, each step right after its ceilings, over all turns so far."""

    produced: steps.Rate = _NONE
    singly: steps.Rate = _NONE
    taken: steps.Rate = _NONE
    copied: steps.Rate = _NONE
    quickly: steps.Rate = _NONE
    rated: steps.Rate = _NONE

    def add(self, turn: "_Rates") -> None:
        """Add a turn."""
        self.produced += turn.produced
        self.singly += turn.singly
        self.taken += turn.taken
        self.copied += turn.copied
        self.quickly += turn.quickly
        self.rated += turn.rated

    def figures(self, found: tuple[int, int, int], count: int) -> list[Figure]:
        """Set each step beside its ceilings; `count` events were sent, `found` is what is there."""
        off = count - self.rated.events
        step = "ingest over HTTP, batches of 100, acks=all, one process"
        by_hand = "bare producer, acks=all, batches made by hand"
        each = "bare producer, acks=all, a send() for each event"
        return [
            _figure(step, self.taken, by_hand, self.produced, lost=off, doubled=-off),
            _figure("the same", self.taken, each, self.singly, lost=off, doubled=-off),
            _rating("rating: log to line items, one rater", self.rated, self.copied, found, count),
            _rating(
                "the same", self.rated, self.quickly, found, count, "COPY as the rater writes it"
            ),
        ]


async def _turn(installation: Installation, events: list[tuple[str, bytes]], topic: str) -> _Rates:
    produced = await steps.produce(installation, events, topic)
    singly = await steps.send(installation, events[: len(events) // 5], topic)
    async with steps.nothing_posted(installation):
        taken = await steps.ingest(installation, events)
        copied = await steps.copy_records(installation, events)
        quickly = await steps.copy_columns(installation, events)
    rated = await steps.rate(installation)
    return _Rates(produced, singly, taken, copied, quickly, rated)


async def _beside(count: int, stored: int, period: Period) -> Figure:
    both = await rate_beside(count, stored, period)
    step = f"rating beside {stored:,} stored events, one rater"
    return _rating(step, both.stored, both.none, both.found, both.rated, "the same, beside none")


async def _acks(
    installation: Installation, best: steps.Rate, which: tuple[int, int, Period]
) -> Acks:
    """Send half as fast as can be, then single events; nothing is rated meanwhile."""
    sent = list(made.events(*which))
    singles = len(sent) // 10
    look_seldom_for_cycles()  # a pause of whoever sends would be counted as one of ingest's
    async with steps.nothing_posted(installation):
        took = sorted(await steps.ack_seconds(installation, sent[singles:], best.per_second / 2))
        alone = await steps.ingest_singles(installation, sent[:singles])
    shares = (took[len(took) // 2], took[len(took) * 99 // 100], took[-1])
    p50, p99, longest = (round(1000 * seconds, 1) for seconds in shares)
    return Acks(round(best.per_second / 2), p50, p99, longest, round(alone.per_second))


def _rating(
    step: str,
    rated: steps.Rate,
    best: steps.Rate,
    found: tuple[int, int, int],
    count: int,
    ceiling: str = "COPY of the same rows with asyncpg",
) -> Figure:
    stored, different, billed = found
    billable = made.billable(0, count)
    return _figure(
        step,
        rated,
        ceiling,
        best,
        lost=max(count - different, billable - billed),
        doubled=max(stored - different, billed - billable),
    )


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


def main() -> None:
    """Measure and print; exit 1 if an event was lost or doubled."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="how many events")
    parser.add_argument(
        "--stored", type=int, default=20_000_000, help="stored events beside which to rate; 0: none"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    count = max(1_000, arguments.events // steps.BATCH * steps.BATCH)
    measured = run_until_stopped(measure(count, arguments.stored))
    if measured is None:
        sys.exit(130)
    figures, acks = measured
    if arguments.json:
        sys.stdout.write(as_json({"events": count, "figures": figures, "acks": acks}) + "\n")
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
        out.print(
            f"acks at {acks.events_per_second:,} events/s, half of the most: p50 {acks.p50} ms,"
            f" p99 {acks.p99} ms, longest {acks.longest} ms\n"
            f"single events: {acks.single_events_per_second:,} requests/s"
        )
    if any(figure.lost or figure.doubled for figure in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
