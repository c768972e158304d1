"""The stage of what was given back: from our credits to the credit notes at Stripe. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from services.invoicer.reconciliation.differences import ZERO, Difference, Stage, add, make_stage
from services.invoicer.reconciliation.figures import OurCredit, TheirCredit
from services.invoicer.reconciliation.invoiced import major


def credits_stage(
    currency: str, ours: Sequence[OurCredit], theirs: Sequence[TheirCredit]
) -> Stage | None:
    """Compare the credits of a month's invoices; None where there are none.

    A credit note that is void at Stripe gives nothing back, and stands for nothing there.
    """
    void = [one for one in theirs if one.is_void]
    theirs = [one for one in theirs if not one.is_void]
    if not ours and not theirs:
        return None
    return make_stage(
        f"credits ({currency})",
        "credit notes at Stripe",
        (len(ours), len(theirs)),
        (
            add(major(one.amount_minor, currency) for one in ours),
            add(major(one.amount_minor, currency) for one in theirs),
        ),
        list(_differences(currency, ours, theirs, void)),
        currency,
    )


def _differences(
    currency: str,
    ours: Sequence[OurCredit],
    theirs: Sequence[TheirCredit],
    void: Sequence[TheirCredit],
) -> Iterator[Difference]:
    left = {one.id: one for one in theirs}
    for credit in ours:
        twins = _twins(credit, left.values())
        for surplus in twins[1:]:
            del left[surplus.id]
            yield _surplus("duplicate_credit_in_stripe", currency, surplus)
        if not twins:
            name, ids = _why_missing(credit, void)
            amount = major(credit.amount_minor, currency)
            yield Difference(name, "critical", Decimal(1), amount, ids)
            continue
        del left[twins[0].id]
        ids = (credit.id, twins[0].id)
        if gap := credit.amount_minor - twins[0].amount_minor:
            yield Difference("credit_mismatch", "critical", ZERO, major(gap, currency), ids)
        if not credit.is_issued:
            yield Difference("credit_not_noted", "critical", ZERO, ZERO, ids)
    for orphan in left.values():
        yield _surplus("credit_orphan_in_stripe", currency, orphan)


def _twins(credit: OurCredit, theirs: Iterable[TheirCredit]) -> list[TheirCredit]:
    """Give what stands for a credit at Stripe: by its metadata, or else by the id noted here."""
    held = list(theirs)
    named = [one for one in held if one.credit == credit.id]
    return named or [one for one in held if one.id == credit.stripe_credit_note_id]


def _why_missing(credit: OurCredit, void: Sequence[TheirCredit]) -> tuple[str, tuple[str, ...]]:
    if not credit.is_issued:
        return "credit_not_issued", (credit.id,)
    if twins := _twins(credit, void):
        return "credit_void_in_stripe", (credit.id, twins[0].id)
    return "credit_missing_in_stripe", (credit.id,)


def _surplus(name: str, currency: str, theirs: TheirCredit) -> Difference:
    amount = major(-theirs.amount_minor, currency)
    return Difference(name, "critical", Decimal(-1), amount, (theirs.id,))
