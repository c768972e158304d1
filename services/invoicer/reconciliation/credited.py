"""The stage of what was given back: from our credits to the credit notes at Stripe. Pure."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from services.invoicer.reconciliation.differences import ZERO, Difference, Stage, add, make_stage
from services.invoicer.reconciliation.figures import OurCredit, TheirCredit
from services.invoicer.reconciliation.invoiced import major


def credits_stage(
    currency: str, ours: Sequence[OurCredit], theirs: Sequence[TheirCredit]
) -> Stage | None:
    """Compare the credits of a month's invoices; None where there are none."""
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
        list(_differences(currency, ours, theirs)),
        currency,
    )


def _differences(
    currency: str, ours: Sequence[OurCredit], theirs: Sequence[TheirCredit]
) -> Iterator[Difference]:
    left = {one.id: one for one in theirs}
    for credit in ours:
        twins = [one for one in left.values() if one.credit == credit.id]
        twins = twins or [one for one in left.values() if one.id == credit.stripe_credit_note_id]
        for surplus in twins[1:]:
            del left[surplus.id]
            yield _surplus("duplicate_credit_in_stripe", currency, surplus)
        if not twins:
            name = "credit_missing_in_stripe" if credit.is_issued else "credit_not_issued"
            amount = major(credit.amount_minor, currency)
            yield Difference(name, "critical", Decimal(1), amount, (credit.id,))
            continue
        del left[twins[0].id]
        ids = (credit.id, twins[0].id)
        if gap := credit.amount_minor - twins[0].amount_minor:
            yield Difference("credit_mismatch", "critical", ZERO, major(gap, currency), ids)
        if not credit.is_issued:
            yield Difference("credit_not_noted", "critical", ZERO, ZERO, ids)
    for orphan in left.values():
        yield _surplus("credit_orphan_in_stripe", currency, orphan)


def _surplus(name: str, currency: str, theirs: TheirCredit) -> Difference:
    amount = major(-theirs.amount_minor, currency)
    return Difference(name, "critical", Decimal(-1), amount, (theirs.id,))
