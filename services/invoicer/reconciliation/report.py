"""Writes a reconciliation out: as JSON, as a page, as CSV files. I/O: files, where asked to."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from services.invoicer.reconciliation.classify import Reconciliation
from services.invoicer.reconciliation.differences import Difference, Stage
from services.invoicer.reconciliation.figures import Figures, OurInvoice
from services.invoicer.reconciliation.invoiced import major
from shared.money import MINOR_UNITS, plain, with_minor_unit
from shared.pages import page_template

CLEAN_HEADER = "Tallybook-Clean"
HEADERS: dict[str, Any] = {
    CLEAN_HEADER: {
        "description": "whether no difference is critical",
        "schema": {"type": "string", "enum": ["true", "false"]},
    }
}

StageDocument = TypedDict(
    "StageDocument",
    {
        "from": str,
        "to": str,
        "count_from": str,
        "count_to": str,
        "amount_from": str,
        "amount_to": str,
    },
)
StageDocument.__doc__ = "A step of the way: what went in, and what came out."

DifferenceDocument = TypedDict(
    "DifferenceDocument",
    {"class": str, "severity": str, "count": str, "amount": str, "ids": list[str]},
)
DifferenceDocument.__doc__ = "A named difference: what is missing in the later stage."


class ReconciliationDocument(TypedDict):
    """A month's stages and differences; clean means that none is critical."""

    period: str
    clean: bool
    stages: list[StageDocument]
    differences: list[DifferenceDocument]


def to_json(found: Reconciliation) -> ReconciliationDocument:
    """Describe a reconciliation; counts and amounts are decimal strings."""
    return {
        "period": found.period,
        "clean": found.clean,
        "stages": [_stage_document(one) for one in found.stages],
        "differences": [_difference_document(one) for one in found.differences],
    }


def _stage_document(stage: Stage) -> StageDocument:
    return {
        "from": stage.source,
        "to": stage.target,
        "count_from": plain(stage.count_from),
        "count_to": plain(stage.count_to),
        "amount_from": plain(stage.amount_from),
        "amount_to": plain(stage.amount_to),
    }


def _difference_document(one: Difference) -> DifferenceDocument:
    return {
        "class": one.name,
        "severity": one.severity,
        "count": plain(one.count),
        "amount": plain(one.amount),
        "ids": list(one.ids),
    }


def to_html(found: Reconciliation, figures: Figures) -> str:
    """Write a page that needs nothing else: stages, differences below each, the invoices."""
    held = {one.id: one for one in figures.stripe.of_month}
    rows = []
    for invoice in figures.invoices:
        twin = held.get(invoice.stripe_invoice_id or "")
        rows.append(
            {
                "customer": invoice.customer_id,
                "id": invoice.id,
                "state": invoice.state,
                "currency": invoice.currency,
                "ours": _money(invoice.total_minor, invoice.currency),
                "theirs": None if twin is None else _money(twin.subtotal_minor, twin.currency),
                "stripe_id": None if twin is None else twin.id,
                "status": None if twin is None else twin.status,
                "equal": _is_equal(invoice, None if twin is None else twin.subtotal_minor),
            }
        )
    template = page_template("services.invoicer.reconciliation", "report.html")
    return template.render(found=found, figures=figures, invoices=rows, plain=plain)


def _is_equal(invoice: OurInvoice, held_minor: int | None) -> bool:
    return invoice.total_minor == (held_minor or 0)


def _money(minor: int, currency: str) -> str:
    amount = major(minor, currency)
    return with_minor_unit(amount, currency) if currency in MINOR_UNITS else plain(amount)


def write_csv(found: Reconciliation, directory: Path) -> None:
    """Write `stages.csv` and `differences.csv` into a directory, which is made if missing."""
    directory.mkdir(parents=True, exist_ok=True)
    stages = [[str(value) for value in _stage_document(one).values()] for one in found.stages]
    _write(directory / "stages.csv", list(StageDocument.__annotations__), stages)
    differences = [
        [one.name, one.severity, plain(one.count), plain(one.amount), " ".join(one.ids)]
        for one in found.differences
    ]
    _write(directory / "differences.csv", list(DifferenceDocument.__annotations__), differences)


def _write(file: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(header)
        writer.writerows(rows)
