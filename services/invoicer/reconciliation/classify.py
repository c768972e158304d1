"""Compares the figures stage by stage and names every difference. Pure.

Between two stages the differences found account for the whole gap, in counts and in amounts
(I10); a gap that no known class explains is itself a difference, `unexplained`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.invoicer.reconciliation.credited import credits_stage
from services.invoicer.reconciliation.differences import (
    ZERO,
    Difference,
    Stage,
    add,
    counted,
    make_stage,
)
from services.invoicer.reconciliation.figures import (
    ChargeFigures,
    Figures,
    LogPartition,
    PostedFigures,
)
from services.invoicer.reconciliation.invoiced import (
    held_stage,
    lines_stage,
    rounding_stage,
    stripe_stage,
)
from shared.money import EXACT

_ORDER = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A month's stages; clean means that no difference is critical."""

    period: str
    stages: tuple[Stage, ...]

    @property
    def differences(self) -> list[Difference]:
        """All differences, the critical ones first."""
        found = [one for stage in self.stages for one in stage.differences]
        return sorted(found, key=lambda one: (_ORDER[one.severity], one.name))

    @property
    def clean(self) -> bool:
        """Tell whether nothing is critical."""
        return all(one.severity != "critical" for one in self.differences)


def reconcile(figures: Figures) -> Reconciliation:
    """Compare all figures of a month; works as well before it is closed or invoiced."""
    currencies = sorted(
        {one.currency for one in figures.charges}
        | {one.currency for one in figures.posted}
        | {one.currency for one in figures.invoices}
        | {one.currency for one in figures.stripe.of_month}
        | {one.currency for one in figures.stripe.credits}
    )
    stages = [_log_stage(figures.log), _handled_stage(figures), _events_stage(figures)]
    for currency in currencies:
        posted = next((one for one in figures.posted if one.currency == currency), None)
        posted = posted or PostedFigures(currency)
        ours = [one for one in figures.invoices if one.currency == currency]
        theirs = [one for one in figures.stripe.of_month if one.currency == currency]
        stages += [
            _charges_stage(currency, [one for one in figures.charges if one.currency == currency]),
            _posting_stage(posted),
            lines_stage(posted, ours, has_run=figures.run_state is not None),
            rounding_stage(currency, ours),
            stripe_stage(currency, ours, theirs, run_state=figures.run_state),
        ]
        credited = credits_stage(
            currency,
            [one for one in figures.credits if one.currency == currency],
            [one for one in figures.stripe.credits if one.currency == currency],
        )
        if credited is not None:
            stages.append(credited)
    return Reconciliation(figures.period, (*stages, held_stage(figures.stripe)))


def _log_stage(log: Sequence[LogPartition]) -> Stage:
    behind = [one for one in log if one.next < one.end]
    ahead = [one for one in log if one.next > one.end]
    holes = [one for one in log if one.span != one.next - one.first]
    return make_stage(
        "log",
        "handled",
        (sum(one.end - one.first for one in log), sum(one.span for one in log)),
        (ZERO, ZERO),
        [
            counted(
                "in_flight",
                "warning",
                sum(one.end - one.next for one in behind),
                (one.name for one in behind),
            ),
            *(
                counted("lost", "critical", one.next - one.first - one.span, [one.name])
                for one in holes
            ),
            counted(
                "log_truncated",
                "critical",
                sum(one.end - one.next for one in ahead),
                (one.name for one in ahead),
            ),
        ],
    )


def _handled_stage(figures: Figures) -> Stage:
    log = figures.log
    lost = [one for one in log if one.rows < one.stored]
    surplus = [one for one in log if one.rows > one.stored]
    aside = figures.set_aside
    conflicts = sum(one.conflicts for one in log)
    letters = sum(one.dead_letters for one in log)
    replayed = aside.closed_dead_letters.get("replayed", 0)
    discarded = aside.closed_dead_letters.get("discarded", 0)
    return make_stage(
        "handled",
        "events",
        (sum(one.span for one in log), sum(one.rows for one in log)),
        (ZERO, ZERO),
        [
            counted("duplicate", "info", sum(one.duplicates for one in log)),
            counted("conflict", "warning", conflicts - aside.resolved_conflicts, aside.conflicts),
            counted("conflict_resolved", "info", aside.resolved_conflicts),
            counted(
                "dead_letter", "warning", letters - replayed - discarded, aside.open_dead_letters
            ),
            counted("dead_letter_replayed", "info", replayed),
            counted("dead_letter_discarded", "info", discarded),
            counted("log_gap", "info", sum(one.span - one.records for one in log)),
            counted(
                "lost",
                "critical",
                sum(one.stored - one.rows for one in lost),
                (one.name for one in lost),
            ),
            counted(
                "orphan_event",
                "critical",
                sum(one.stored - one.rows for one in surplus),
                (one.name for one in surplus),
            ),
        ],
    )


def _events_stage(figures: Figures) -> Stage:
    events = figures.events
    return make_stage(
        "events of the month",
        "billable events",
        (events.total, events.billable),
        (ZERO, ZERO),
        [
            counted("voided", "info", events.voided, events.voided_events),
            counted("unpriced", "warning", events.unpriced, events.unpriced_customers),
            counted(
                "not_billable",
                "info",
                events.total - events.voided - events.unpriced - events.billable,
            ),
        ],
    )


def _charges_stage(currency: str, charges: Sequence[ChargeFigures]) -> Stage:
    return make_stage(
        f"usage and fees by the plans ({currency})",
        "line items of the month",
        (
            add(one.event_quantity for one in charges),
            add(one.item_quantity for one in charges),
        ),
        (
            add(one.item_amount if one.expected is None else one.expected for one in charges),
            add(one.item_amount for one in charges),
        ),
        [difference for one in charges for difference in _charge_differences(one)],
        currency,
    )


def _charge_differences(one: ChargeFigures) -> Iterator[Difference]:
    quantity = EXACT.subtract(one.event_quantity, one.item_quantity)
    amount = ZERO if one.expected is None else EXACT.subtract(one.expected, one.item_amount)
    ids = (one.name,)
    if one.expected is None:
        yield Difference("price_not_checked", "warning", ZERO, ZERO, ids)
    if not quantity and not amount:
        return
    if not one.planned:
        yield Difference("orphan_line_item", "critical", quantity, amount, ids)
    elif quantity:
        name = "lost" if quantity > 0 else "billed_twice"
        yield Difference(name, "critical", quantity, amount, ids)
    elif not one.posted:
        yield Difference("not_posted_yet", "warning", ZERO, amount, ids)
    else:
        yield Difference("amount_mismatch", "critical", ZERO, amount, ids)


def _posting_stage(posted: PostedFigures) -> Stage:
    """From the month in which usage happened to the month whose invoice it is on."""
    later = (f"{posted.later_items} line items on later invoices",) if posted.later_items else ()
    late = (f"{posted.late_items} line items of earlier months",) if posted.late_items else ()
    return make_stage(
        f"line items of the month ({posted.currency})",
        "line items posted to the month",
        (posted.used_items, posted.items),
        (posted.used_amount, posted.amount),
        [
            Difference(
                "posted_later", "info", Decimal(posted.later_items), posted.later_amount, later
            ),
            Difference(
                "late", "info", Decimal(-posted.late_items), EXACT.minus(posted.late_amount), late
            ),
        ],
        posted.currency,
    )
