"""What is compared: figures of each place where usage or money is on record. Pure values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class LogPartition:
    """A partition of the log, and what the rater's books say of it.

    `end` is the log's, `next` the first offset not handled, `first` the first one handled;
    `span` counts the offsets handled, `rows` the events in the table.
    """

    partition: int
    end: int
    next: int
    first: int
    span: int
    records: int
    stored: int
    duplicates: int
    conflicts: int
    dead_letters: int
    rows: int = 0

    @property
    def name(self) -> str:
        """How it is named in a difference."""
        return f"partition {self.partition}"


@dataclass(frozen=True, slots=True)
class MonthEvents:
    """The events of a month, by what they count for; those that were voided count for nothing."""

    total: int
    billable: int
    unpriced: int
    unpriced_customers: Sequence[str] = ()
    voided: int = 0
    voided_events: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ChargeFigures:
    """A charge of a contract in a month: as its terms say, and as its line items say.

    `event_quantity` is metered from the events, and `expected` is what that costs by the terms,
    both reckoned apart from the rater; None: its model is not known here. Quantities that line
    items do not count alike, of fees and packages, are 0 on both sides. `planned` is False
    for line items of a charge that the contract does not have, `posted` for a fee that the
    rater has not come to yet.
    """

    contract_id: str
    charge: str
    currency: str
    event_quantity: Decimal
    item_quantity: Decimal
    expected: Decimal | None
    item_amount: Decimal
    planned: bool = True
    posted: bool = True

    @property
    def name(self) -> str:
        """How it is named in a difference."""
        return f"{self.contract_id}/{self.charge}"


@dataclass(frozen=True, slots=True)
class PostedFigures:
    """Line items of a month in one currency, and their way onto invoices.

    Used in the month: all of them, and those posted to a later one. Posted to the month: all,
    those used earlier, those on no invoice, and those on an invoice of another month, customer
    or currency.
    """

    currency: str
    used_items: int = 0
    used_amount: Decimal = Decimal(0)
    later_items: int = 0
    later_amount: Decimal = Decimal(0)
    items: int = 0
    amount: Decimal = Decimal(0)
    late_items: int = 0
    late_amount: Decimal = Decimal(0)
    uninvoiced: int = 0
    uninvoiced_amount: Decimal = Decimal(0)
    uninvoiced_ids: Sequence[int] = ()
    misplaced: int = 0
    misplaced_amount: Decimal = Decimal(0)
    misplaced_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class OurLine:
    """A line of an invoice of ours, and what the line items linked to it add up to.

    `carried_minor` is the total of the earlier invoices that it takes up, None without any.
    """

    position: int
    description: str
    amount_minor: int
    exact_amount: Decimal
    linked_items: int
    linked_amount: Decimal
    carried_minor: int | None = None


@dataclass(frozen=True, slots=True)
class OurInvoice:
    """An invoice of ours; the hidden line items are on it, but come to nothing: no line.

    One that is `replaced` was issued again: its line items are on the later revision. One that is
    `left_over` was carried forward, is on no later invoice, and its customer has no contract now.
    """

    id: str
    customer_id: str
    billing_key: str
    currency: str
    state: str
    total_minor: int
    payload_sha256: str
    stripe_invoice_id: str | None
    hidden_items: int = 0
    hidden_amount: Decimal = Decimal(0)
    lines: Sequence[OurLine] = ()
    replaced: bool = False
    left_over: bool = False


@dataclass(frozen=True, slots=True)
class TheirInvoice:
    """An invoice at Stripe; `lines` are position, text and amount in minor units."""

    id: str
    billing_key: str | None
    currency: str
    status: str
    subtotal_minor: int
    total_minor: int
    payload_sha256: str | None
    lines: Sequence[tuple[str | None, str | None, int]]


@dataclass(frozen=True, slots=True)
class OurCredit:
    """A credit of ours that was not refused; one not `is_issued` was asked for and cut short."""

    id: str
    currency: str
    amount_minor: int
    is_issued: bool
    stripe_credit_note_id: str | None


@dataclass(frozen=True, slots=True)
class TheirCredit:
    """A credit note at Stripe; `credit` is our credit's id, where it is one of ours."""

    id: str
    credit: str | None
    currency: str
    amount_minor: int
    is_void: bool = False


@dataclass(frozen=True, slots=True)
class StripeFigures:
    """What Stripe holds since the month was over: of the month, of other months, not ours.

    The credits are of the month's invoices.
    """

    of_month: Sequence[TheirInvoice] = ()
    other_months: Sequence[str] = ()
    foreign: Sequence[str] = ()
    credits: Sequence[TheirCredit] = ()


@dataclass(frozen=True, slots=True)
class SetAside:
    """Records that became no event: those that are open by name, the others by count.

    `closed_dead_letters` are by state, `replayed` or `discarded`.
    """

    open_dead_letters: Sequence[str] = ()
    conflicts: Sequence[str] = ()
    closed_dead_letters: Mapping[str, int] = field(default_factory=dict)
    resolved_conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a reconciliation of a month compares; `run_state` is None without a run."""

    period: str
    closed: bool
    run_state: str | None
    log: Sequence[LogPartition]
    events: MonthEvents
    charges: Sequence[ChargeFigures]
    posted: Sequence[PostedFigures]
    invoices: Sequence[OurInvoice]
    stripe: StripeFigures
    set_aside: SetAside = SetAside()
    credits: Sequence[OurCredit] = ()
