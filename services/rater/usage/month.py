"""A customer's month, and its quantities added up over the contracts that share it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.rater.pricing import Band
from services.rater.tallying import UsageKey
from services.rater.terms import Contract
from services.rater.tokens import TokenPrices
from shared.money import EXACT
from shared.periods import Period

ZERO = Decimal(0)


class Split(NamedTuple):
    """A part of a meter's quantity; with an empty dimension it is the whole."""

    meter: str
    dimension: str
    value: str


@dataclass(frozen=True, slots=True)
class PostedLine:
    """Line items of one contract, charge, band, usage period and unit price, added up."""

    contract_id: str
    charge: str
    band: Band
    usage_period: str


@dataclass(frozen=True, slots=True)
class CustomerMonth:
    """What the books hold of a customer's month at one moment.

    `aggregates` says how each meter counts. `distinct` has the unique counts over all contracts
    together, of meters that more than one has counted. `posted` is what goes onto the month's
    invoice, whenever it was used.
    """

    customer_id: str
    currency: str
    period: Period
    as_of: datetime
    contracts: Sequence[Contract]
    tokens: Mapping[str, str]
    """Who pays for tokens, by contract, in the plan's words."""
    aggregates: Mapping[str, str]
    totals: Mapping[UsageKey, Decimal]
    distinct: Mapping[Split, Decimal]
    prices: TokenPrices
    posted: Sequence[PostedLine]


def quantities(month: CustomerMonth) -> dict[Split, Decimal]:
    """Add up what the contracts have counted: by sum, by the highest, or by what is distinct."""
    found: dict[Split, Decimal] = {}
    for key, quantity in month.totals.items():
        split = Split(key.meter, key.dimension, key.value)
        before = found.get(split, ZERO)
        aggregate = month.aggregates.get(key.meter)
        if aggregate == "unique_count":
            found[split] = month.distinct.get(split, quantity)
        elif aggregate == "max":
            found[split] = max(before, quantity)
        else:
            found[split] = EXACT.add(before, quantity)
    return found


def whole_quantities(month: CustomerMonth) -> dict[str, Decimal]:
    """Give the month's quantity of every meter; 0 of those that counted nothing."""
    counted = {
        split.meter: quantity
        for split, quantity in quantities(month).items()
        if not split.dimension
    }
    return {meter: counted.get(meter, ZERO) for meter in sorted({*month.aggregates, *counted})}
