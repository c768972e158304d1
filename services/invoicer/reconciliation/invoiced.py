"""The later stages: from posted line items to invoices, and from those to Stripe. Pure."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from services.invoicer.carrying import UNSENT
from services.invoicer.reconciliation.differences import (
    ZERO,
    Difference,
    Severity,
    Stage,
    add,
    counted,
    make_stage,
)
from services.invoicer.reconciliation.figures import (
    OurInvoice,
    OurLine,
    PostedFigures,
    StripeFigures,
    TheirInvoice,
)
from shared.money import EXACT, UnknownCurrencyError, from_minor, round_to_minor

STATUSES = {
    "finalized": ("open", "paid"),
    "sent": ("open", "paid"),
    "paid": ("paid",),
    "overdue": ("open",),
    "void": ("void",),
    "uncollectible": ("uncollectible",),
}
"""What an invoice must be at Stripe, by our state; in any other state it must not be there."""


def lines_stage(posted: PostedFigures, ours: Sequence[OurInvoice], *, has_run: bool) -> Stage:
    """From the line items posted to the month to the invoice lines that show them."""
    ours = [invoice for invoice in ours if not invoice.replaced]
    lines = [(invoice, line) for invoice in ours for line in invoice.lines]
    shown = sum(line.linked_items for _, line in lines)
    hidden = sum(invoice.hidden_items for invoice in ours)
    return make_stage(
        f"line items posted to the month ({posted.currency})",
        "invoice lines",
        (posted.items, shown + hidden),
        (posted.amount, add(line.exact_amount for _, line in lines)),
        [
            Difference(
                "uninvoiced",
                "critical" if has_run else "warning",
                Decimal(posted.uninvoiced),
                posted.uninvoiced_amount,
                tuple(str(item) for item in posted.uninvoiced_ids),
            ),
            Difference(
                "misplaced",
                "critical",
                Decimal(posted.misplaced),
                posted.misplaced_amount,
                tuple(str(item) for item in posted.misplaced_ids),
            ),
            *(
                Difference("not_shown", "critical", ZERO, invoice.hidden_amount, (invoice.id,))
                for invoice in ours
                if invoice.hidden_amount
            ),
            _taken_up(posted.currency, lines),
            *_line_gaps(posted.currency, lines),
        ],
        posted.currency,
    )


def _taken_up(currency: str, lines: Sequence[tuple[OurInvoice, OurLine]]) -> Difference:
    """Name what earlier invoices left, which no line item of the month accounts for."""
    found = [one for one in lines if one[1].carried_minor is not None]
    return Difference(
        "taken_up",
        "info",
        ZERO,
        EXACT.minus(add(_carried(currency, line) for _, line in found)),
        tuple(_line_name(*one) for one in found),
    )


def _carried(currency: str, line: OurLine) -> Decimal:
    return major(line.carried_minor or 0, currency)


def _line_gaps(currency: str, lines: Sequence[tuple[OurInvoice, OurLine]]) -> Iterator[Difference]:
    for invoice, line in lines:
        ids = (_line_name(invoice, line),)
        held = EXACT.add(line.linked_amount, _carried(currency, line))
        gap = EXACT.subtract(held, line.exact_amount)
        if not line.linked_items and line.carried_minor is None:
            yield Difference("orphan_invoice_line", "critical", ZERO, gap, ids)
        elif gap:
            yield Difference("amount_mismatch", "critical", ZERO, gap, ids)


def _line_name(invoice: OurInvoice, line: OurLine) -> str:
    return f"{invoice.id} line {line.position}"


def rounding_stage(currency: str, ours: Sequence[OurInvoice]) -> Stage:
    """From exact lines to invoice totals: each line is rounded once, and nothing else is."""
    live = [invoice for invoice in ours if not invoice.replaced]
    lines = [(invoice, line) for invoice in live for line in invoice.lines]
    gaps: dict[bool, list[Decimal]] = {True: [], False: []}
    wrong: list[str] = []
    for invoice, line in lines:
        right = round_to_minor(line.exact_amount, currency) == line.amount_minor
        gap = EXACT.subtract(line.exact_amount, from_minor(line.amount_minor, currency))
        gaps[right].append(gap)
        if not right:
            wrong.append(_line_name(invoice, line))
    return make_stage(
        f"invoice lines ({currency})",
        "invoices",
        (len(lines), len(lines)),
        (
            add(line.exact_amount for _, line in lines),
            add(from_minor(invoice.total_minor, currency) for invoice in ours),
        ),
        [
            Difference("rounding", "info", ZERO, add(gaps[True])),
            Difference("wrong_rounding", "critical", ZERO, add(gaps[False]), tuple(wrong)),
            *_total_gaps(currency, live),
            *(
                Difference(
                    "reissued", "info", ZERO, from_minor(-one.total_minor, currency), (one.id,)
                )
                for one in ours
                if one.replaced
            ),
        ],
        currency,
    )


def _total_gaps(currency: str, ours: Sequence[OurInvoice]) -> Iterator[Difference]:
    for invoice in ours:
        gap = sum(line.amount_minor for line in invoice.lines) - invoice.total_minor
        if gap:
            amount = from_minor(gap, currency)
            yield Difference("total_mismatch", "critical", ZERO, amount, (invoice.id,))


def stripe_stage(
    currency: str,
    ours: Sequence[OurInvoice],
    theirs: Sequence[TheirInvoice],
    *,
    run_state: str | None,
) -> Stage:
    """From our invoices to Stripe's; amounts there are subtotals, before tax and discount."""
    return make_stage(
        f"invoices ({currency})",
        "Stripe",
        (len(ours), len(theirs)),
        (
            add(major(one.total_minor, currency) for one in ours),
            add(major(one.subtotal_minor, currency) for one in theirs),
        ),
        list(_stripe_differences(currency, ours, theirs, run_state)),
        currency,
    )


def held_stage(stripe: StripeFigures) -> Stage:
    """From all that Stripe lists since the month was over to what of it is the month's."""
    of_month = len(stripe.of_month)
    return make_stage(
        "invoices at Stripe",
        "of the month",
        (of_month + len(stripe.other_months) + len(stripe.foreign), of_month),
        (ZERO, ZERO),
        [
            counted("other_month", "info", len(stripe.other_months), stripe.other_months),
            counted("foreign", "info", len(stripe.foreign), stripe.foreign),
        ],
    )


def major(minor: int, currency: str) -> Decimal:
    """Give an amount in major units; in a currency not known here, in minor ones."""
    try:
        return from_minor(minor, currency)
    except UnknownCurrencyError:
        return Decimal(minor)


def _stripe_differences(
    currency: str,
    ours: Sequence[OurInvoice],
    theirs: Sequence[TheirInvoice],
    run_state: str | None,
) -> Iterator[Difference]:
    left = {one.id: one for one in theirs}
    for invoice in ours:
        twins = [one for one in left.values() if _is_twin(invoice, one)]
        match = next((one for one in twins if one.id == invoice.stripe_invoice_id), None)
        match = match or next((one for one in twins if one.status != "draft"), None)
        match = match or next(iter(twins), None)
        for twin in twins:
            del left[twin.id]
            if twin is not match:
                yield _surplus("duplicate_in_stripe", currency, twin)
        if match is None:
            yield _absent(currency, invoice, run_state)
        else:
            yield from _twin_differences(currency, invoice, match)
    for orphan in left.values():
        yield _surplus("orphan_in_stripe", currency, orphan)


def _is_twin(ours: OurInvoice, theirs: TheirInvoice) -> bool:
    return theirs.id == ours.stripe_invoice_id or theirs.billing_key == ours.billing_key


def _surplus(name: str, currency: str, theirs: TheirInvoice) -> Difference:
    amount = major(-theirs.subtotal_minor, currency)
    return Difference(name, "critical", Decimal(-1), amount, (theirs.id,))


def _absent(currency: str, invoice: OurInvoice, run_state: str | None) -> Difference:
    amount = major(invoice.total_minor, currency)
    if invoice.state == "void" and invoice.stripe_invoice_id is None:
        return Difference("void_never_sent", "info", Decimal(1), amount, (invoice.id,))
    if invoice.left_over:
        ids = (invoice.id,)
        return Difference("carried_without_contract", "warning", Decimal(1), amount, ids)
    if invoice.state in UNSENT:
        return Difference(invoice.state, "info", Decimal(1), amount, (invoice.id,))
    if invoice.stripe_invoice_id is not None:
        return Difference("missing_in_stripe", "critical", Decimal(1), amount, (invoice.id,))
    severity: Severity = "warning" if run_state == "planned" else "critical"
    return Difference("not_sent", severity, Decimal(1), amount, (invoice.id,))


def _twin_differences(
    currency: str, invoice: OurInvoice, theirs: TheirInvoice
) -> Iterator[Difference]:
    """Compare an invoice with its twin at Stripe."""
    ids = (invoice.id, theirs.id)
    gap = major(invoice.total_minor - theirs.subtotal_minor, currency)
    if gap:
        yield Difference("subtotal_mismatch", "critical", ZERO, gap, ids)
    if invoice.state == "void" and not invoice.replaced:
        yield Difference("void_not_reissued", "warning", ZERO, ZERO, ids)
    for name in _twin_faults(invoice, theirs):
        yield Difference(name, "critical", ZERO, ZERO, ids)


def _twin_faults(invoice: OurInvoice, theirs: TheirInvoice) -> Iterator[str]:
    """Name what differs without changing the subtotal."""
    if theirs.total_minor != theirs.subtotal_minor:
        yield "tax_or_discount"
    mine = sorted((str(one.position), one.description, one.amount_minor) for one in invoice.lines)
    held = sorted((position or "", text or "", amount) for position, text, amount in theirs.lines)
    if mine != held:
        yield "line_mismatch"
    if theirs.payload_sha256 != invoice.payload_sha256:
        yield "metadata_hash_mismatch"
    if theirs.billing_key != invoice.billing_key:
        yield "billing_key_mismatch"
    if invoice.stripe_invoice_id != theirs.id:
        yield "id_mismatch"
    if theirs.status == "draft":
        yield "stuck_draft"
    elif theirs.status not in STATUSES.get(invoice.state, ()):
        yield "status_drift"
