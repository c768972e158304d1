"""Every difference has a class, and between two stages the classes make up the whole gap."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.invoicer.reconciliation.classify import reconcile
from services.invoicer.reconciliation.differences import Difference
from services.invoicer.reconciliation.figures import Figures
from tests.services.invoicer.reconciliation.cases import CRITICAL, NOT_CRITICAL
from tests.services.invoicer.reconciliation.figures import (
    EMPTY,
    carried,
    charge,
    line,
    month,
    ours,
    posted,
    stripe,
    theirs,
    with_carried,
)


def _found(figures: Figures) -> dict[str, Difference]:
    """Give the differences by name, but for those that a right month has too."""
    return {
        one.name: one
        for one in reconcile(figures).differences
        if one.name not in ("duplicate", "not_billable")
    }


def _only(figures: Figures) -> Difference:
    found = _found(figures)
    assert len(found) == 1, found
    return next(iter(found.values()))


def test_a_right_month_is_clean_and_shows_what_is_not_billed() -> None:
    reconciled = reconcile(month())
    assert reconciled.clean
    assert [(one.name, one.severity, one.count) for one in reconciled.differences] == [
        ("duplicate", "info", Decimal(2)),
        ("not_billable", "info", Decimal(8)),
    ]


def test_an_empty_month_is_clean_and_has_its_stages() -> None:
    reconciled = reconcile(EMPTY)
    assert reconciled.clean
    assert reconciled.differences == []
    assert [one.source for one in reconciled.stages] == [
        "log",
        "handled",
        "events of the month",
        "invoices at Stripe",
    ]


@pytest.mark.parametrize(
    ("figures", "name", "count", "amount"), CRITICAL.values(), ids=CRITICAL.keys()
)
def test_a_critical_difference_is_named_with_what_it_comes_to(
    figures: Figures, name: str, count: str, amount: str
) -> None:
    found = _only(figures)
    assert (found.name, found.severity) == (name, "critical")
    assert (found.count, found.amount) == (Decimal(count), Decimal(amount))
    assert found.ids
    assert not reconcile(figures).clean


def test_a_line_that_takes_up_less_than_an_earlier_invoice_left_is_named() -> None:
    lines = [line(), carried(carried_minor=30)]
    invoices = [ours(total_minor=200, lines=lines)]
    found = _found(month(invoices=invoices, stripe=stripe(with_carried())))
    assert {(one.name, one.severity): one.amount for one in found.values()} == {
        ("amount_mismatch", "critical"): Decimal("0.1"),
        ("taken_up", "info"): Decimal("-0.3"),
    }


def test_a_changed_amount_at_stripe_is_named_by_its_size_and_its_line() -> None:
    changed = theirs(subtotal_minor=90, total_minor=90, lines=[("1", "90 executions", 90)])
    found = _found(month(stripe=stripe(changed)))
    assert {name: one.amount for name, one in found.items()} == {
        "subtotal_mismatch": Decimal("0.9"),
        "line_mismatch": Decimal(0),
    }
    assert found["subtotal_mismatch"].ids == ("inv_1", "in_1")


def test_an_invoice_line_without_line_items_is_an_orphan() -> None:
    bare = line(position=2, description="?", linked_items=0, linked_amount=Decimal(0))
    invoice = ours(total_minor=360, lines=[line(), bare])
    found = _found(month(invoices=[invoice]))
    assert found["orphan_invoice_line"].amount == Decimal("-1.8")
    assert found["orphan_invoice_line"].ids == ("inv_1 line 2",)


@pytest.mark.parametrize(
    ("figures", "name", "severity", "count"), NOT_CRITICAL.values(), ids=NOT_CRITICAL.keys()
)
def test_what_is_not_critical_is_named_and_leaves_the_month_clean(
    figures: Figures, name: str, severity: str, count: str
) -> None:
    found = _only(figures)
    assert (found.name, found.severity, found.count) == (name, severity, Decimal(count))
    assert reconcile(figures).clean


def test_before_there_is_a_run_uninvoiced_line_items_are_no_fault() -> None:
    waiting: dict[str, Any] = {"uninvoiced": 3, "uninvoiced_amount": Decimal("1.8")}
    figures = month(
        closed=False, run_state=None, posted=[posted(**waiting)], invoices=[], stripe=stripe()
    )
    found = _only(figures)
    assert (found.name, found.severity) == ("uninvoiced", "warning")
    assert reconcile(figures).clean


def test_a_skipped_invoice_must_not_be_at_stripe() -> None:
    found = _found(month(invoices=[ours(state="skipped_zero")]))
    assert found["status_drift"].severity == "critical"


def test_each_currency_has_stages_of_its_own() -> None:
    euros = {"currency": "EUR"}
    figures = month(
        charges=[charge(), charge(contract_id="con_2", **euros)],
        posted=[posted(), posted(**euros)],
        invoices=[ours(), ours(id="inv_2", billing_key="b", stripe_invoice_id="in_2", **euros)],
        stripe=stripe(theirs(), theirs(id="in_2", billing_key="b", **euros)),
    )
    reconciled = reconcile(figures)
    assert reconciled.clean
    assert [one.currency for one in reconciled.stages if one.target == "Stripe"] == ["EUR", "USD"]


def test_a_gap_that_no_class_explains_is_a_difference_itself() -> None:
    figures = month(posted=[replace(posted(), used_items=9, used_amount=Decimal(9))])
    found = _only(figures)
    assert (found.name, found.severity) == ("unexplained", "critical")
    assert (found.count, found.amount) == (Decimal(6), Decimal("7.2"))
