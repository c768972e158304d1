"""What the demo found, as a table for a person and as JSON. Pure, but for the printing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.demo.scenarios import Scenario
from infra.demo.sending import Sent
from infra.demo.traffic import failed_executions
from shared.money import from_minor


@dataclass(frozen=True, slots=True)
class Row:
    """One customer: what the page expects, what was invoiced, what Stripe holds (in cents)."""

    scenario: Scenario
    invoiced_cents: int | None
    stripe_cents: int | None
    billed_executions: int

    @property
    def equal(self) -> bool:
        """Tell whether all three amounts are the same, to the cent."""
        return self.scenario.expected_cents == self.invoiced_cents == self.stripe_cents

    @property
    def lost(self) -> int:
        """Executions that are on no invoice."""
        return max(0, self.scenario.executions - self.billed_executions)

    @property
    def billed_twice(self) -> int:
        """Executions on the invoice beyond those that happened."""
        return max(0, self.billed_executions - self.scenario.executions)


@dataclass(frozen=True, slots=True)
class Rated:
    """What the rater made of the log: records by what became of them."""

    records: int = 0
    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    dead_letters: int = 0
    unpriced: int = 0


@dataclass(slots=True)
class Outcome:
    """All that the demo found."""

    period: str
    scale: str
    rows: list[Row]
    sent: Sent
    rated: Rated
    rating_seconds: float
    clean: bool
    report: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Executions that happened and were not billed."""
        return sum(row.lost for row in self.rows)

    @property
    def billed_twice(self) -> int:
        """Executions that were billed more often than they happened."""
        return sum(row.billed_twice for row in self.rows)

    @property
    def expected_events(self) -> int:
        """Different events that must have been stored: succeeded and failed ones."""
        stays = [stay for row in self.rows for stay in row.scenario.stays]
        return sum(stay.executions + failed_executions(stay.executions) for stay in stays)

    @property
    def complaints(self) -> list[str]:
        """What is off; nothing means that the demo is right."""
        found = []
        if unequal := sum(not row.equal for row in self.rows):
            found.append(f"{unequal} invoices are not what the price page expects")
        if self.lost or self.billed_twice:
            found.append(f"{self.lost} executions lost, {self.billed_twice} billed twice")
        if self.sent.unexpected:
            found.append(f"{self.sent.unexpected} requests were judged otherwise than they should")
        if self.rated.stored != self.expected_events:
            found.append(f"{self.rated.stored} events stored, not {self.expected_events}")
        if self.rated.conflicts or self.rated.dead_letters or self.rated.unpriced:
            found.append("there are conflicts, dead letters or unpriced events")
        if not self.clean:
            found.append("the reconciliation is not clean")
        return found

    @property
    def right(self) -> bool:
        """Tell whether every cent and event is where it must be."""
        return not self.complaints


def demo_document(outcome: Outcome) -> dict[str, Any]:
    """Write the outcome as JSON; amounts are decimal strings in US dollars."""
    sent, rated = outcome.sent, outcome.rated
    return {
        "right": outcome.right,
        "complaints": outcome.complaints,
        "period": outcome.period,
        "scale": outcome.scale,
        "rows": [
            {
                "customer": row.scenario.customer_id,
                "plan": row.scenario.plan,
                "scenario": row.scenario.label,
                "expected": _dollars(row.scenario.expected_cents),
                "invoiced": _dollars(row.invoiced_cents),
                "stripe": _dollars(row.stripe_cents),
                "equal": row.equal,
            }
            for row in outcome.rows
        ],
        "events": {
            "sent": sent.events,
            "accepted": sent.accepted,
            "duplicate": sent.duplicate,
            "rejected": sent.rejected,
            "rated": rated.stored,
            "duplicate_on_log": rated.duplicates,
            "conflict": rated.conflicts,
            "dead_letter": rated.dead_letters,
            "unpriced": rated.unpriced,
            "lost": outcome.lost,
            "billed_twice": outcome.billed_twice,
        },
        "events_per_second": {
            "ingest": round(_rate(sent.events, sent.seconds)),
            "rating": round(_rate(rated.records, outcome.rating_seconds)),
        },
        "seconds": {name: round(value, 2) for name, value in outcome.seconds.items()},
        "clean": outcome.clean,
        "report": str(outcome.report),
    }


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print the table, the counts, the rates and the seconds."""
    table = Table(title=f"Invoices of {outcome.period}", title_justify="left")
    for name in ("plan", "scenario"):
        table.add_column(name)
    for name in ("expected", "invoiced", "Stripe holds"):
        table.add_column(name, justify="right")
    table.add_column("equal")
    for row in outcome.rows:
        amounts = (row.scenario.expected_cents, row.invoiced_cents, row.stripe_cents)
        table.add_row(
            row.scenario.plan,
            row.scenario.label,
            *(f"${_dollars(amount):>}" if amount is not None else "none" for amount in amounts),
            "yes" if row.equal else "[bold red]NO[/]",
        )
    console.print(table)
    document = demo_document(outcome)
    for title in ("events", "events_per_second", "seconds"):
        parts = ", ".join(
            f"{name.replace('_', ' ')} {value:,}" for name, value in document[title].items()
        )
        console.print(f"{title.replace('_', ' ')}: {parts}", highlight=False)
    console.print(f"reconciliation: {'clean' if outcome.clean else 'NOT clean'}, {outcome.report}")
    if outcome.right:
        console.print("every event billed exactly once, to the cent", style="bold green")
    for complaint in outcome.complaints:
        console.print(f"wrong: {complaint}", style="bold red")


def _dollars(amount: int | None) -> str | None:
    return None if amount is None else f"{from_minor(amount, 'USD'):,.2f}".replace(",", "")


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0
