"""What may be sent at all, and whether Stripe holds exactly what we sent (I9). Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.invoicer.building import LINES_PER_INVOICE, Draft, DraftLine
from services.invoicer.carrying import Minimums, unsent_state
from services.invoicer.payload import line_metadata
from services.invoicer.stripe_objects import StripeInvoice, StripeLine
from services.invoicer.wording import NO_WORDING, Wording


@dataclass(frozen=True, slots=True)
class FrozenInvoice:
    """An invoice as it was frozen here, and the customer it is for at Stripe."""

    billing_key: str
    stripe_customer: str
    currency: str
    total_minor: int
    payload_sha256: str
    lines: Sequence[DraftLine]
    wording: Wording = NO_WORDING


def first_state(draft: Draft, minimums: Minimums) -> tuple[str, str | None]:
    """Give the state in which an invoice is frozen, and why it is not to be sent if so."""
    currency = draft.key.currency
    least = minimums.least(currency, is_last=draft.is_last)
    unsent = unsent_state(draft.total_minor, currency, least)
    if unsent is not None:
        return unsent
    if len(draft.lines) > LINES_PER_INVOICE:
        reason = f"it has {len(draft.lines)} lines: Stripe takes {LINES_PER_INVOICE}"
        return "needs_review", reason
    return "frozen", None


def complaints(
    ours: FrozenInvoice, theirs: StripeInvoice, lines: Sequence[StripeLine]
) -> list[str]:
    """Name everything in which an invoice at Stripe is not ours; nothing means it is equal."""
    return [*_head_complaints(ours, theirs), *_line_complaints(ours, lines)]


def _head_complaints(ours: FrozenInvoice, theirs: StripeInvoice) -> Iterator[str]:
    facts = theirs.facts
    pairs: dict[str, tuple[object, object]] = {
        "customer": (theirs.customer, ours.stripe_customer),
        "currency": (theirs.currency.upper(), ours.currency),
        "billing key": (theirs.billing_key, ours.billing_key),
        "hash of the payload": (facts.get("payload_sha256"), ours.payload_sha256),
        "subtotal": (theirs.subtotal, ours.total_minor),
        "total": (theirs.total, ours.total_minor),
    }
    if ours.wording.footer is not None:
        pairs["footer"] = (theirs.footer, ours.wording.footer)
    if ours.wording.custom_fields:
        pairs["custom fields"] = (theirs.fields, ours.wording.custom_fields)
    for name, (held, sent) in pairs.items():
        if held != sent:
            yield f"the {name} at Stripe is {held}, ours is {sent}"
    if any(one.amount for one in theirs.total_discount_amounts or ()):
        yield "Stripe has given a discount on it"
    if any(one.amount for one in theirs.total_taxes or ()):
        yield "Stripe has put a tax on it"


def _line_complaints(ours: FrozenInvoice, lines: Sequence[StripeLine]) -> Iterator[str]:
    if len(lines) != len(ours.lines):
        yield f"Stripe holds {len(lines)} lines, ours are {len(ours.lines)}"
    held: dict[str | None, list[StripeLine]] = {}
    for line in lines:
        held.setdefault(line.position, []).append(line)
    for mine in ours.lines:
        found = held.pop(str(mine.position), [])
        if len(found) != 1:
            yield f"line {mine.position} is at Stripe {len(found)} times"
        for theirs in found[:1]:
            yield from _differences(ours.currency, mine, theirs)
    for position in held:
        yield f"Stripe holds a line that is not ours (position {position})"


def _differences(currency: str, mine: DraftLine, theirs: StripeLine) -> Iterator[str]:
    pairs = {
        "amount": (theirs.amount, mine.amount_minor),
        "currency": (theirs.currency.upper(), currency),
        "description": (theirs.description, mine.description),
    }
    for name, (held, sent) in pairs.items():
        if held != sent:
            yield f"the {name} of line {mine.position} at Stripe is {held}, ours is {sent}"
    for name, sent_fact in line_metadata(mine).items():
        if theirs.metadata.get(name, "") != sent_fact:
            yield f"the metadata of line {mine.position} at Stripe differ in {name}"
    if any(one.amount for one in (*(theirs.discount_amounts or ()), *(theirs.taxes or ()))):
        yield f"line {mine.position} has a discount or a tax at Stripe"
