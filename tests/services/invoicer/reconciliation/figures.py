"""Builds the figures of a month; each part right by itself, to be broken by a test. Pure."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from services.invoicer.reconciliation.figures import (
    ChargeFigures,
    Figures,
    LogPartition,
    MonthEvents,
    OurInvoice,
    OurLine,
    PostedFigures,
    StripeFigures,
    TheirInvoice,
)


def partition(**changed: Any) -> LogPartition:
    """Make a partition of 100 records, of which 2 came twice."""
    right = LogPartition(0, 100, 100, 0, 100, 100, 98, 2, 0, 0, rows=98)
    return replace(right, **changed)


def charge(**changed: Any) -> ChargeFigures:
    """Make a charge of 90 executions at two cents."""
    right = ChargeFigures(
        "con_1", "executions", "USD", Decimal(90), Decimal(90), Decimal("1.8"), Decimal("1.8")
    )
    return replace(right, **changed)


def posted(**changed: Any) -> PostedFigures:
    """Make 3 line items of $1.80, all used in and posted to the month, and invoiced."""
    right = PostedFigures(
        "USD", used_items=3, used_amount=Decimal("1.8"), items=3, amount=Decimal("1.8")
    )
    return replace(right, **changed)


def line(**changed: Any) -> OurLine:
    """Make the line that shows those line items."""
    right = OurLine(1, "90 executions", 180, Decimal("1.8"), 3, Decimal("1.8"))
    return replace(right, **changed)


def ours(**changed: Any) -> OurInvoice:
    """Make the invoice with that line."""
    right = OurInvoice(
        "inv_1", "acme", "acme:2026-10", "USD", "finalized", 180, "hash", "in_1", lines=[line()]
    )
    return replace(right, **changed)


def theirs(**changed: Any) -> TheirInvoice:
    """Make its twin at Stripe."""
    right = TheirInvoice(
        "in_1", "acme:2026-10", "USD", "open", 180, 180, "hash", [("1", "90 executions", 180)]
    )
    return replace(right, **changed)


def carried(**changed: Any) -> OurLine:
    """Make a second line, of 20 cents that an earlier invoice left."""
    right = OurLine(2, "carried forward", 20, Decimal("0.2"), 0, Decimal(0), carried_minor=20)
    return replace(right, **changed)


def with_carried() -> TheirInvoice:
    """Make the twin of the invoice with both lines."""
    lines = [("1", "90 executions", 180), ("2", "carried forward", 20)]
    return theirs(subtotal_minor=200, total_minor=200, lines=lines)


def stripe(*of_month: TheirInvoice, **more: Any) -> StripeFigures:
    """Make what Stripe holds."""
    return StripeFigures(list(of_month), **more)


def month(**changed: Any) -> Figures:
    """Make the figures of a month in which everything is right."""
    right = Figures(
        "2026-10",
        closed=True,
        run_state="done",
        log=[partition()],
        events=MonthEvents(98, 90, 0),
        charges=[charge()],
        posted=[posted()],
        invoices=[ours()],
        stripe=stripe(theirs()),
    )
    return replace(right, **changed)


EMPTY = Figures(
    "2026-10",
    closed=False,
    run_state=None,
    log=[],
    events=MonthEvents(0, 0, 0),
    charges=[],
    posted=[],
    invoices=[],
    stripe=StripeFigures(),
)
