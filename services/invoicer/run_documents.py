"""The JSON of runs and of what changed between two: the same over HTTP and from commands."""

from collections.abc import Iterable, Mapping, Sequence

from typing_extensions import TypedDict

from services.invoicer.diffing import Changed
from services.invoicer.documents import InvoiceDocument, invoice_document, money
from shared.moments import format_moment
from shared.tables.invoicer import Invoice, InvoiceRun


class RunDocument(TypedDict):
    """A run, and how many of its invoices are in each state.

    `payload_sha256` is what an approval names: it follows from all that its invoices say.
    """

    id: str
    period: str
    state: str
    payload_sha256: str
    started_by: str
    created_at: str | None
    approved_by: str | None
    approved_at: str | None
    paused_because: str | None
    finished_at: str | None
    states: dict[str, int]


class WholeRunDocument(RunDocument):
    """A run with its invoices."""

    invoices: list[InvoiceDocument]


class ChangedDocument(TypedDict):
    """A customer who is invoiced otherwise; null where a run has no invoice for it."""

    customer: str
    currency: str
    before: str | None
    after: str | None
    change: str


class DiffDocument(TypedDict):
    """What changed from one run to another, by customer and currency."""

    run: str
    against: str
    changed: list[ChangedDocument]


class RunsDocument(TypedDict):
    """Runs, the newest month first."""

    runs: list[RunDocument]


def run_document(run: InvoiceRun, states: Mapping[str, int]) -> RunDocument:
    """Describe a run without its invoices."""
    return {
        "id": run.id,
        "period": run.period,
        "state": run.state,
        "payload_sha256": run.payload_sha256,
        "started_by": run.started_by,
        "created_at": format_moment(run.created_at),
        "approved_by": run.approved_by,
        "approved_at": format_moment(run.approved_at),
        "paused_because": run.paused_because,
        "finished_at": format_moment(run.finished_at),
        "states": dict(states),
    }


def whole_run_document(
    run: InvoiceRun, states: Mapping[str, int], invoices: Sequence[Invoice]
) -> WholeRunDocument:
    """Describe a run with each of its invoices."""
    return {**run_document(run, states), "invoices": [invoice_document(one) for one in invoices]}


def diff_document(run_id: str, against: str, changed: Iterable[Changed]) -> DiffDocument:
    """Describe what changed between two runs."""
    return {
        "run": run_id,
        "against": against,
        "changed": [
            {
                "customer": one.customer_id,
                "currency": one.currency,
                "before": None
                if one.before_minor is None
                else money(one.before_minor, one.currency),
                "after": None if one.after_minor is None else money(one.after_minor, one.currency),
                "change": money(one.change_minor, one.currency),
            }
            for one in changed
        ],
    }
