"""Puts every plan beside the others for one month's usage, the cheapest first. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from typing_extensions import TypedDict

from services.rater.pricing import Coverage, is_metered
from services.rater.quotes.lines import money, priced_lines
from services.rater.quotes.offers import Offer, Offers
from services.rater.quotes.request import Fault
from shared.errors import InvalidInputError
from shared.money import round_to_minor, with_minor_unit
from shared.periods import Period


class InvalidComparisonError(InvalidInputError):
    """A request that cannot be compared; `place` says where its fault is."""

    code = "invalid_comparison"

    def __init__(self, fault: Fault, *, wrong_use: bool = False) -> None:
        self.place, message = fault
        self.exit_status = 2 if wrong_use else 1
        super().__init__(f"{self.place}: {message}")


@dataclass(frozen=True, slots=True)
class ComparedMonth:
    """What the plans are compared on; `token_costs` are exact, by currency."""

    period: Period
    currency: str
    usage: Mapping[str, Decimal]
    token_costs: Mapping[str, Decimal]
    unpriced_models: Sequence[str] = ()


class RowDocument(TypedDict):
    """What a plan would cost; `token_cost` is nothing where the plan includes the tokens."""

    plan: str
    amount_due: str
    token_cost: str
    total: str
    rank: int


class SavingDocument(TypedDict):
    """What a plan with a monthly fee saves against one without, in two readings.

    `fees_only` compares the fees for usage alone; `with_recurring` counts the monthly fee,
    `recurring`, too. Less than nothing is a loss.
    """

    plan: str
    against: str
    recurring: str
    fees_only: str
    with_recurring: str


class LeftOutDocument(TypedDict):
    """A plan in another currency, which cannot stand beside the others."""

    plan: str
    currency: str


class ComparisonDocument(TypedDict):
    """Every plan for one month; plans of the same total share a rank."""

    period: str
    currency: str
    rows: list[RowDocument]
    savings: list[SavingDocument]
    left_out: list[LeftOutDocument]
    unpriced_models: list[str]
    other_token_costs: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Row:
    offer: Offer
    recurring: int
    metered: int
    tokens: int

    @property
    def due(self) -> int:
        return self.recurring + self.metered

    @property
    def total(self) -> int:
        return self.due + self.tokens


def compare(
    offers: Offers, month: ComparedMonth, exclude: Collection[str] = ()
) -> ComparisonDocument:
    """Price a whole month on each plan in force that is not excluded.

    Amounts are in the month's currency. Raises `InvalidComparisonError` where a plan is
    excluded that there is not.
    """
    _check_excluded(exclude, offers)
    compared = [one for one in offers.in_force() if one.plan not in exclude]
    rows = [_row(one, month) for one in compared if one.currency == month.currency]
    rows.sort(key=lambda row: (row.total, row.offer.plan))
    return {
        "period": str(month.period),
        "currency": month.currency,
        "rows": [_row_document(row, rows) for row in rows],
        "savings": list(_savings(rows)),
        "left_out": [
            {"plan": one.plan, "currency": one.currency}
            for one in compared
            if one.currency != month.currency
        ],
        "unpriced_models": list(month.unpriced_models),
        "other_token_costs": {
            currency: with_minor_unit(cost, currency)
            for currency, cost in sorted(month.token_costs.items())
            if currency != month.currency
        },
    }


def _check_excluded(exclude: Iterable[str], offers: Offers) -> None:
    plans = [one.plan for one in offers.in_force()]
    for name in exclude:
        if name not in plans:
            message = f"there is no plan {name!r}; there are: {', '.join(plans) or 'none yet'}"
            raise InvalidComparisonError(("exclude", message))


def _row(offer: Offer, month: ComparedMonth) -> _Row:
    whole = Coverage.whole(month.period)
    lines = priced_lines([(one, whole) for one in offer.charges], month.usage, offer.currency)
    metered = sum(line.minor for line in lines if is_metered(line.charge))
    tokens = Decimal(0)
    if offer.customer_pays_tokens:
        tokens = month.token_costs.get(month.currency, tokens)
    return _Row(
        offer,
        recurring=sum(line.minor for line in lines) - metered,
        metered=metered,
        tokens=round_to_minor(tokens, month.currency),
    )


def _row_document(row: _Row, rows: Sequence[_Row]) -> RowDocument:
    currency = row.offer.currency
    return {
        "plan": row.offer.plan,
        "amount_due": money(row.due, currency),
        "token_cost": money(row.tokens, currency),
        "total": money(row.total, currency),
        "rank": 1 + sum(other.total < row.total for other in rows),
    }


def _savings(rows: Sequence[_Row]) -> Iterator[SavingDocument]:
    """Set each plan that has a monthly fee against those without, of the same token terms."""
    without_fee = [row for row in rows if all(map(is_metered, row.offer.charges))]
    for row in sorted(rows, key=lambda row: row.offer.plan):
        for other in sorted(without_fee, key=lambda row: row.offer.plan):
            if row in without_fee or row.offer.tokens != other.offer.tokens:
                continue
            currency = row.offer.currency
            yield {
                "plan": row.offer.plan,
                "against": other.offer.plan,
                "recurring": money(row.recurring, currency),
                "fees_only": money(other.metered - row.metered, currency),
                "with_recurring": money(other.due - row.due, currency),
            }
