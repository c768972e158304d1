"""From quantities added to line items: f(new) minus f(old), by charge and band. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from services.rater.pricing import Band, Charge, difference, is_metered, price
from services.rater.tallying import ZERO, UsageKey
from services.rater.terms import Contract, PostingState
from shared.periods import Period

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
    totals: Mapping[UsageKey, tuple[Decimal, Decimal]],
    contracts: Mapping[str, Contract],
    state: PostingState,
) -> list[LineItem]:
    """Price running totals that were changed; each is given as it was and as it is.

    For every metered charge this posts f(after) - f(before), so that at every moment the line
    items of a charge and month add up to f(total) (I4).
    """
    items: list[LineItem] = []
    for key, (before, after) in totals.items():
        if key.dimension or before == after:
            continue
        contract = contracts[key.contract_id]
        charges = [charge for charge in contract.metered if charge.meter == key.meter]
        if not charges:
            continue
        coverage = contract.coverage(Period.parse(key.usage_period))
        assert coverage is not None, "usage lies within its contract"
        for charge in charges:
            bands = difference(price(charge, after, coverage), price(charge, before, coverage))
            items.extend(line_items(contract, charge.code, bands, key.usage_period, state, "usage"))
    return items


@dataclass(slots=True)
class Posted:
    """What stands posted for a charge and month, and the first line item of each band.

    The first of all is named by the empty band.
    """

    bands: list[Band] = field(default_factory=list)
    first_ids: dict[str, int] = field(default_factory=dict)

    def add(self, band: Band, first_id: int) -> None:
        """Add line items of one band and unit price, the oldest first."""
        self.bands.append(band)
        self.first_ids.setdefault("", first_id)
        self.first_ids.setdefault(band.label, first_id)


def owed_line_items(
    contract: Contract,
    period: Period,
    totals: Mapping[UsageKey, Decimal],
    posted: Mapping[str, Posted],
    state: PostingState,
) -> Iterator[LineItem]:
    """Give the line items that a contract's month lacks; none when all is well.

    `totals` are what its usage comes to, `posted` what stands, by charge: what f says now is
    taken, less what is posted. A month that the contract does not touch comes to nothing.
    """
    coverage = contract.coverage(period)
    for charge in contract.charges:
        stands = posted.get(charge.code) or Posted()
        meter = charge.meter if is_metered(charge) else ""
        quantity = totals.get(UsageKey(contract.id, str(period), meter, "", ""), ZERO)
        target = [] if coverage is None else price(charge, quantity, coverage)
        bands = difference(target, stands.bands)
        kind: Kind = "adjustment" if stands.bands else kind_of(charge)
        yield from line_items(
            contract, charge.code, bands, str(period), state, kind, stands.first_ids
        )


def kind_of(charge: Charge) -> Kind:
    """Name the first posting of a charge: usage on a meter, or a fee for a month."""
    return "usage" if is_metered(charge) else "recurring"


def line_items(
    contract: Contract,
    charge: str,
    bands: Iterable[Band],
    usage_period: str,
    state: PostingState,
    kind: Kind,
    corrects: Mapping[str, int] | None = None,
) -> Iterator[LineItem]:
    """Write bands as line items of a charge and month.

    `corrects` names, by band, the line items that are corrected; an empty name any other.
    """
    corrected = corrects or {}
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
            corrected.get(band.label, corrected.get("")),
        )
