"""What is known of an event, and the state that it is in. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

State = Literal["accepted", "rated", "invoiced", "conflict", "dead_letter", "unknown"]


@dataclass(frozen=True, slots=True)
class Item:
    """A line item that the event has its part in, and where it is invoiced."""

    id: int
    charge: str
    band: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    currency: str
    usage_period: str
    posting_period: str
    kind: str
    invoice: str | None
    invoice_line: int | None


@dataclass(frozen=True, slots=True)
class Voided:
    """Who took the event back, when and why."""

    at: datetime
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The event as it stands in the books; `counted` says whether any meter counts it."""

    customer_id: str
    type: str
    time: datetime
    received_at: datetime
    handled_at: datetime | None
    partition: int
    offset: int
    contract_id: str | None
    plan: str | None
    customer_known: bool
    counted: bool
    voided: Voided | None
    items: Sequence[Item] = ()

    @property
    def waiting_for(self) -> Literal["customer", "contract"] | None:
        """Name what it waits for before it is rated."""
        if self.contract_id is not None or self.voided is not None:
            return None
        return "contract" if self.customer_known else "customer"

    @property
    def invoice(self) -> str | None:
        """Name the invoice that its line items are on, the newest where there are several."""
        placed = [item for item in self.items if item.invoice is not None]
        return max(placed, key=lambda item: item.id).invoice if placed else None


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """A conflict: the event's name came with other content."""

    id: int
    customer_id: str
    state: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that names the event; `customer_id` None where it cannot be read."""

    id: int
    customer_id: str | None
    code: str
    detail: str
    pointer: str | None
    state: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """All that is known of an event; the newest conflict and dead letter first."""

    source: str
    id: str
    stored: Stored | None = None
    conflicts: Sequence[OtherVersion] = ()
    letters: Sequence[Letter] = ()

    @property
    def state(self) -> State:
        """Name the state: what matters most to whoever sent the event."""
        if any(one.state == "open" for one in self.conflicts):
            return "conflict"
        if self.stored is not None:
            if self.stored.contract_id is None:
                return "accepted"
            return "rated" if self.stored.invoice is None else "invoiced"
        if self.letters:
            return "accepted" if self.letters[0].state == "replayed" else "dead_letter"
        return "unknown"

    @property
    def note(self) -> str | None:
        """Say what the state alone does not."""
        if self.state == "unknown":
            return (
                "not in the books; one that was accepted just now may still be on its way,"
                " so ask again in a moment"
            )
        if self.stored is None and self.state == "accepted":
            return "written to the log again, and not in the books yet"
        if self.stored is not None and self.stored.voided is not None:
            return "voided: it counts for nothing"
        if self.stored is not None and not self.stored.counted:
            return "no charge counts it, so it costs nothing"
        return None

    def seen_by(self, customers: frozenset[str]) -> "Whereabouts":
        """Leave out what is about other customers; no customers means all."""
        if not customers:
            return self
        stored = self.stored
        return Whereabouts(
            self.source,
            self.id,
            stored if stored is not None and stored.customer_id in customers else None,
            [one for one in self.conflicts if one.customer_id in customers],
            [one for one in self.letters if one.customer_id in customers],
        )
