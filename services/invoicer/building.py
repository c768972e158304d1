"""From line items to an invoice: grouped, added up exactly, rounded once a line. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from services.invoicer.carrying import CARRIED, Carried
from services.invoicer.collapsing import Group, LineKey, Several, collapse
from services.invoicer.describing import describe, describe_carried, describe_several
from services.invoicer.detailing import Detail, detail_csv, detail_of, file_sha256
from services.invoicer.wording import NO_WORDING, About, Wording, word
from shared.money import EXACT, from_minor, round_to_minor

ZERO = Decimal(0)
NOTHING_MORE = About()

LINES_PER_INVOICE = 250
"""The most lines that Stripe takes on one invoice."""

_RANKS = {"free": 0, "discount": 2, "minimum": 3, "maximum": 4}
"""Where a band stands by its first word: as the price is worked out; 1 is what units cost."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Line items of one contract, charge, band, kind, usage period and unit price, added up.

    How they were grouped before makes no difference: each may come alone, or all together.
    `amount` is exact, in the currency's major unit.
    """

    ids: Sequence[int]
    contract_id: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ContractFacts:
    """What an invoice says of a contract, and sorts it by."""

    plan: str
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceKey:
    """What there is one invoice for (I8)."""

    customer_id: str
    period: str
    currency: str
    kind: str = "monthly"
    revision: int = 1


@dataclass(frozen=True, slots=True)
class DraftLine:
    """One line of an invoice; `amount_minor` is the only rounded figure.

    Its kind is `adjustment` only where all its line items are. One that stands for several, or
    for an amount carried forward, has no unit price; what is not the same for all it stands
    for is empty.
    """

    position: int
    contract_id: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: Decimal
    unit_price: Decimal
    exact_amount: Decimal
    amount_minor: int
    description: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice to be. `placed` names every line item: its line, None where not shown.

    `carried` names each earlier invoice whose amount it takes up, with the line. `details` are
    in the order of the lines, and their exact amounts add up to the lines'; their file has a
    hash here where the lines were collapsed. `is_last`: no contract of the customer in the
    currency runs on after the month.
    """

    key: InvoiceKey
    lines: tuple[DraftLine, ...]
    placed: Mapping[int, int | None]
    carried: Mapping[str, int] = field(default_factory=dict)
    details: tuple[Detail, ...] = ()
    detail_sha256: str | None = None
    about: About = NOTHING_MORE
    wording: Wording = NO_WORDING
    is_last: bool = False

    @property
    def total_minor(self) -> int:
        """The sum of the lines' rounded amounts, in minor units."""
        return sum(line.amount_minor for line in self.lines)


def build_draft(
    key: InvoiceKey,
    items: Iterable[Posted],
    contracts: Mapping[str, ContractFacts],
    carried: Sequence[Carried] = (),
    about: About = NOTHING_MORE,
    most_lines: int = LINES_PER_INVOICE,
) -> Draft:
    """Make one customer's invoice from the line items that post to its period and currency.

    Line items of one contract, charge, band, usage period and unit price become a line, whose
    exact sum is rounded once: an adjustment stands on the line that it adjusts, as if that had
    been so from the start. The order of the line items makes no difference. Lines that are too
    many are collapsed; amounts carried forward come last.
    """
    found = _group(items)
    fees = {group.key[:2] for group in found if group.kind == "recurring"}
    groups = sorted(found, key=lambda group: _order(group.key, contracts, fees))
    shown = [group for group in groups if group.shown]
    parts, collapsed = collapse(shown, fees, most_lines - len(carried))
    lines = [_line(key, position, part, contracts) for position, part in enumerate(parts, 1)]
    taken_up = {one.invoice_id: len(lines) + place for place, one in enumerate(carried, 1)}
    lines += [_carried_line(key, taken_up[one.invoice_id], one) for one in carried]
    placed: dict[int, int | None] = {}
    for group in groups:
        placed.update(dict.fromkeys(group.ids))
    details: list[Detail] = []
    for position, part in enumerate(parts, 1):
        for group in part.groups:
            placed.update(dict.fromkeys(group.ids, position))
            details.append(detail_of(position, group, contracts[group.key[0]].plan))
    details += [_carried_detail(line) for line in lines[len(parts) :]]
    sha256 = file_sha256(detail_csv(details, key.currency)) if collapsed else None
    wording = word(about, key.period, detail_sha256=sha256, details=len(details))
    return Draft(key, tuple(lines), placed, taken_up, tuple(details), sha256, about, wording)


def _group(items: Iterable[Posted]) -> Sequence[Group]:
    groups: dict[LineKey, Group] = {}
    for item in items:
        key = (item.contract_id, item.charge, item.band, item.usage_period, item.unit_price)
        group = groups.setdefault(key, Group(key))
        group.quantity = EXACT.add(group.quantity, item.quantity)
        group.amount = EXACT.add(group.amount, item.amount)
        group.ids.extend(item.ids)
        group.kinds.add(item.kind)
    return list(groups.values())


def _line(
    key: InvoiceKey, position: int, part: Several, contracts: Mapping[str, ContractFacts]
) -> DraftLine:
    if len(part.groups) > 1:
        return _several_line(key, position, part, contracts)
    (group,) = part.groups
    contract_id, charge, band, usage_period, unit_price = group.key
    description = describe(
        plan=contracts[contract_id].plan,
        charge=charge,
        band=band,
        kind=group.kind,
        usage_period=usage_period,
        posting_period=key.period,
        quantity=group.quantity,
        unit_price=unit_price,
        exact_amount=group.amount,
        currency=key.currency,
    )
    return DraftLine(
        position,
        contract_id,
        charge,
        band,
        group.kind,
        usage_period,
        group.quantity,
        unit_price,
        group.amount,
        round_to_minor(group.amount, key.currency),
        description,
    )


def _several_line(
    key: InvoiceKey, position: int, part: Several, contracts: Mapping[str, ContractFacts]
) -> DraftLine:
    """Make a line of several; of several months it is counted to the invoice's own."""
    contract_id, charge, amount = part.common(0), part.common(1), part.amount
    description = describe_several(
        plan=contracts[contract_id].plan if contract_id else None,
        charge=charge,
        kind=part.kind,
        count=len(part.groups),
        months=part.months,
        posting_period=key.period,
        exact_amount=amount,
    )
    return DraftLine(
        position,
        contract_id or "",
        charge or "",
        f"{len(part.groups)} lines",
        part.kind,
        part.common(3) or key.period,
        part.quantity,
        ZERO,
        amount,
        round_to_minor(amount, key.currency),
        description,
    )


def _carried_line(key: InvoiceKey, position: int, one: Carried) -> DraftLine:
    return DraftLine(
        position,
        "",
        CARRIED,
        one.invoice_id,
        CARRIED,
        one.period,
        ZERO,
        ZERO,
        from_minor(one.amount_minor, key.currency),
        one.amount_minor,
        describe_carried(one.period),
    )


def _carried_detail(line: DraftLine) -> Detail:
    return Detail(
        line.position,
        line.contract_id,
        "",
        line.charge,
        line.band,
        line.kind,
        line.usage_period,
        line.quantity,
        line.unit_price,
        line.exact_amount,
    )


def _order(
    key: LineKey, contracts: Mapping[str, ContractFacts], fees: Collection[tuple[str, str]]
) -> tuple[object, ...]:
    """Sort by contract in time, then month, fees before usage, charge, band as numbers.

    `fees` are contracts and charges; an adjustment of a fee does not say itself that it is one.
    """
    contract_id, charge, band, usage_period, unit_price = key
    return (
        contracts[contract_id].starts_at,
        contract_id,
        usage_period,
        (contract_id, charge) not in fees,
        charge,
        _RANKS.get(band.partition(" ")[0], 1),
        _natural(band),
        unit_price,
    )


def _natural(label: str) -> list[tuple[int, Decimal, str]]:
    """Split a label so that its numbers sort as numbers: ``over 50000`` after ``0 to 50000``."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", label.removeprefix("over "))
    return [(0, Decimal(part), "") if part[0].isdecimal() else (1, ZERO, part) for part in parts]
