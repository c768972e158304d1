"""The journal: each document of a month as entries whose debits equal their credits. Pure.

Amounts are whole minor units. An entry debits what is owed and credits what it is owed for; an
amount below nothing stands on the other side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

from services.invoicer.exporting.accounts import Accounts, Booked
from shared.errors import TallybookError
from shared.money import CHARGED_IN, EXACT, allocate, minor_unit_places


class Booking(NamedTuple):
    """How a document is booked: the role of the account that is debited by its total.

    One that is `undone` is booked back again by a second entry.
    """

    against: str
    undone: bool = False


BOOKINGS: Mapping[str, Mapping[str, Booking | None]] = {
    "invoice": {
        "finalized": Booking("receivable"),
        "sent": Booking("receivable"),
        "paid": Booking("receivable"),
        "overdue": Booking("receivable"),
        "uncollectible": Booking("receivable"),
        "void": Booking("receivable", undone=True),
        "skipped_zero": Booking("receivable"),
        "carried_forward": Booking("carried_forward"),
        "planned": None,
        "frozen": None,
        "creating": None,
        "lines_adding": None,
        "verified": None,
        "needs_review": None,
        "failed_retryable": None,
    },
    "credit_note": {
        "issued": Booking("receivable"),
        "intended": None,
        "refused": None,
    },
}
"""How each kind of document is booked in each state; None: not yet, as it is not final."""

ROLES: Mapping[str, str] = {
    "usage": "revenue",
    "recurring": "revenue",
    "adjustment": "adjustments",
    "carried_forward": "carried_forward",
}
"""The role of the account that is credited by a line, by the line's kind."""


class JournalError(TallybookError):
    """A document that cannot be booked so that the journal balances."""

    code = "journal_does_not_balance"
    status = 500


@dataclass(frozen=True, slots=True)
class Part:
    """A line of a document, or what it stands for; `components` say what its fee is made of."""

    kind: str
    amount_minor: int
    usage_period: str
    plan: str = ""
    charge: str = ""
    components: Mapping[str, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """What is booked, such as an invoice, with its lines.

    One that gives back has amounts below nothing. `changed` is the day its state last changed.
    """

    kind: str
    id: str
    state: str
    customer_id: str
    customer_name: str
    currency: str
    total_minor: int
    changed: date
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A line of an entry: one of debit and credit is 0, the other more."""

    entry: str
    date: date
    document: Document
    account: str
    account_name: str
    debit_minor: int
    credit_minor: int
    booked: Booked
    usage_period: str


_Place = tuple[str, str, Booked, str]
"""Account, its name, what is booked, and the month of use."""


def journal_lines(document: Document, booked_on: date, accounts: Accounts) -> list[JournalLine]:
    """Book a document, as it stands; nothing for one that is not final, or comes to nothing.

    Raises `JournalError` where its lines do not add up to its total, or it has a state or a kind
    of line that is not known here.
    """
    states = BOOKINGS[document.kind]
    if document.state not in states:
        raise JournalError(f"{document.id} is {document.state}, which the journal does not know")
    booking = states[document.state]
    if booking is None:
        return []
    amounts = _amounts(document, booking, accounts)
    lines = _entry(document, document.id, booked_on, amounts)
    if booking.undone:
        back = {place: -minor for place, minor in amounts.items()}
        lines += _entry(document, f"{document.id}/{document.state}", document.changed, back)
    return lines


def _amounts(document: Document, booking: Booking, accounts: Accounts) -> dict[_Place, int]:
    """Give what is debited by place; less than nothing is credited."""
    owed = Booked(document.currency)
    amounts = {(*accounts.of(booking.against, owed), owed, ""): document.total_minor}
    for part in document.parts:
        if part.kind not in ROLES:
            raise JournalError(
                f"{document.id} has a line of kind {part.kind}, which the journal does not know"
            )
        role = ROLES[part.kind]
        for component, minor in _split(part, role):
            booked = Booked(document.currency, part.plan, part.charge, component)
            place = (*accounts.of(role, booked), booked, part.usage_period)
            amounts[place] = amounts.get(place, 0) - minor
    if difference := sum(amounts.values()):
        raise JournalError(
            f"{document.id} is {document.total_minor} in minor units of {document.currency}, its"
            f" lines are {document.total_minor - difference}; see: tallybook reconcile"
        )
    return amounts


def _split(part: Part, role: str) -> Iterator[tuple[str, int]]:
    """Split a fee by what it is made of, so that nothing is lost; each as a quote says it."""
    if role != "revenue" or not part.components:
        yield "", part.amount_minor
        return
    shares = allocate(part.amount_minor, list(part.components.values()))
    yield from zip(part.components, shares, strict=True)


def _entry(
    document: Document, name: str, day: date, amounts: Mapping[_Place, int]
) -> list[JournalLine]:
    return [
        JournalLine(
            name, day, document, account, title, max(minor, 0), max(-minor, 0), booked, month
        )
        for (account, title, booked, month), minor in amounts.items()
        if minor
    ]


def apportion(minor: int, exact: Sequence[Decimal], currency: str) -> list[int]:
    """Share a rounded amount out to the exact ones, in major units, that it was rounded from.

    Each gets itself, cut to what the currency is charged in; those who lost most by that get what
    is left, the first of equals first. A negative whole mirrors its positive twin. Raises
    `ValueError` where it is not their sum to within one such unit each.
    """
    sign = -1 if minor < 0 else 1
    places, step = minor_unit_places(currency), CHARGED_IN[currency]
    due = [
        EXACT.divide(EXACT.scaleb(EXACT.multiply(one, Decimal(sign)), places), Decimal(step))
        for one in exact
    ]
    shares = [int(one.to_integral_value(ROUND_FLOOR)) for one in due]
    whole, odd = divmod(abs(minor), step)
    left = whole - sum(shares)
    if odd or not 0 <= left <= len(shares):
        raise ValueError(f"{minor} is not the sum of what it is made of")
    by_loss = sorted(range(len(due)), key=lambda index: shares[index] - due[index])
    for index in by_loss[:left]:
        shares[index] += 1
    return [sign * share * step for share in shares]
