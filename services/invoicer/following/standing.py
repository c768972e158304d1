"""Where an invoice stands, by what Stripe says of it and by the clock. Pure."""

from datetime import datetime

from services.invoicer.stripe_objects import StripeInvoice

OPEN = ("finalized", "sent", "overdue", "uncollectible")
"""States of an invoice at Stripe that may yet be paid."""

FOLLOWED = (*OPEN, "paid")
"""States that follow Stripe's; what is on its way is the sender's, and void is final."""


def standing(state: str, theirs: StripeInvoice, now: datetime) -> str:
    """Give the state that follows from the invoice at Stripe alone, whatever came before.

    An open invoice is overdue once its due date has passed, whether or not Stripe says so.
    """
    if theirs.status in ("paid", "void", "uncollectible"):
        return theirs.status
    if theirs.status != "open":
        return state
    if theirs.due_at is not None and theirs.due_at < now:
        return "overdue"
    return "sent" if state == "sent" else "finalized"
