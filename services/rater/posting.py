"""From quantities added to line items: f(new) minus f(old), by charge and band. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

from services.rater.metering import UsageKey
from services.rater.pricing import Band, difference, price_quantity
from services.rater.terms import Contract, PostingState
from shared.money import EXACT

Kind = Literal["usage", "recurring", "adjustment"]


class LineItem(NamedTuple):
    """A posting to be: the columns of `line_items` that the rater decides on, in order."""

    batch_id: int
    customer_id: str
    contract_id: str
    charge: str
    band: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    currency: str
    usage_period: str
    posting_period: str
    kind: Kind
    corrects: int | None


def usage_line_items(
    added: Mapping[UsageKey, Decimal],
    totals: Mapping[UsageKey, Decimal],
    contracts: Mapping[str, Contract],
    state: PostingState,
    kind: Kind = "usage",
) -> list[LineItem]:
    """Price quantities that were added; `totals` are the running totals with them.

    For every metered charge this posts f(total) - f(total - added), so that at every moment
    the line items of a charge and month add up to f(total) (I4).
    """
    items: list[LineItem] = []
    for key, quantity in added.items():
        if key.dimension or not quantity:
            continue
        contract = contracts[key.contract_id]
        for charge in contract.metered:
            if charge.meter != key.meter:
                continue
            after = totals[key]
            before = EXACT.subtract(after, quantity)
            bands = difference(price_quantity(charge, after), price_quantity(charge, before))
            items.extend(line_items(contract, charge.code, bands, key.usage_period, state, kind))
    return items


def line_items(
    contract: Contract,
    charge: str,
    bands: Iterable[Band],
    usage_period: str,
    state: PostingState,
    kind: Kind,
    corrects: int | None = None,
) -> Iterable[LineItem]:
    """Write bands as line items of a charge and month."""
    for band in bands:
        yield LineItem(
            state.batch_id,
            contract.customer_id,
            contract.id,
            charge,
            band.label,
            band.quantity,
            band.unit_price,
            band.amount,
            contract.currency,
            usage_period,
            state.posting_period(usage_period),
            kind,
            corrects,
        )
