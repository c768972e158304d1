"""What Tallybook reads of Stripe's objects, and how a call can fail. Pure."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from shared.errors import TallybookError

Retry = Literal["soon", "later", "never"]
Reach = Literal["call", "stripe", "account"]

API_VERSION = "2026-08-26.dahlia"
"""The version whose published OpenAPI document our requests are tested against; the SDK's own
default would move with every upgrade of the package."""


@dataclass(frozen=True, slots=True)
class StripeAmount:
    """An amount within a list, in minor units."""

    amount: int


@dataclass(frozen=True, slots=True)
class StripeLine:
    """A line of an invoice at Stripe; `amount` is in minor units."""

    id: str
    amount: int
    currency: str
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    discount_amounts: list[StripeAmount] | None = None
    taxes: list[StripeAmount] | None = None

    @property
    def position(self) -> str | None:
        """Our line's position, where it is a line of ours."""
        return self.metadata.get("position")


@dataclass(frozen=True, slots=True)
class StripeLines:
    """The first lines of an invoice, as they come with it."""

    data: list[StripeLine]
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class StripeField:
    """A custom field of an invoice."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class StripeInvoice:
    """An invoice at Stripe; amounts are in minor units, `created` and `due_date` in Unix time.

    `amount_remaining` is what is still to be paid of it.
    """

    id: str
    status: str | None
    currency: str
    customer: str | None
    subtotal: int
    total: int
    created: int
    lines: StripeLines
    due_date: int | None = None
    amount_remaining: int = 0
    metadata: dict[str, str] | None = None
    total_discount_amounts: list[StripeAmount] | None = None
    total_taxes: list[StripeAmount] | None = None
    custom_fields: list[StripeField] | None = None
    footer: str | None = None

    @property
    def billing_key(self) -> str | None:
        """The key of our invoice, where it is one of ours."""
        return self.facts.get("billing_key")

    @property
    def due_at(self) -> datetime | None:
        """When it is due."""
        return None if self.due_date is None else datetime.fromtimestamp(self.due_date, UTC)

    @property
    def facts(self) -> dict[str, str]:
        """The metadata, empty where there is none."""
        return self.metadata or {}

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The custom fields, as name and value."""
        return tuple((one.name, one.value) for one in self.custom_fields or ())


@dataclass(frozen=True, slots=True)
class StripeCreditNote:
    """A credit note at Stripe; `total` is in minor units."""

    id: str
    invoice: str
    currency: str
    status: str
    total: int
    metadata: dict[str, str] | None = None

    @property
    def credit(self) -> str | None:
        """The id of our credit, where it is one of ours."""
        return (self.metadata or {}).get("tallybook_credit")


@dataclass(frozen=True, slots=True)
class StripeCustomerTwin:
    """A customer at Stripe."""

    id: str
    name: str | None = None
    email: str | None = None
    metadata: dict[str, str] | None = None

    @property
    def customer_id(self) -> str | None:
        """The id of our customer, where it is one of ours."""
        return (self.metadata or {}).get("tallybook_customer")


class StripeFault(TallybookError):  # noqa: N818 - a fault with a verdict, not only an error
    """A call to Stripe that failed.

    `retry`: whether the same call is worth another try, `soon`, `later` (once somebody has
    put it right) or `never`. `answered`: Stripe gave an answer that it repeats for the same
    idempotency key. `missing`: the object named is not there. `retry_after` is in seconds.
    `reach`: what is at fault: this `call` alone, or `stripe` as a whole (down, or busy), or our
    `account` (its key, its version of the API), with which every other call would fail too.
    """

    code = "stripe"
    status = 502
    exit_status = 2

    def __init__(
        self,
        message: str,
        *,
        retry: Retry,
        answered: bool = False,
        missing: bool = False,
        retry_after: float | None = None,
        reach: Reach = "call",
    ) -> None:
        self.retry = retry
        self.answered = answered
        self.missing = missing
        self.retry_after = retry_after
        self.reach = reach
        super().__init__(message)
