"""An invoice's detail file: the lines as they would be if an invoice could have any number. Pure.

It is a CSV (RFC 4180) whose exact amounts add up to the invoice lines' exact amounts. Where the
lines were collapsed its SHA-256 stands on the invoice, so that nobody can pass off another.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from typing_extensions import TypedDict

from services.invoicer.collapsing import Group
from shared.money import plain


class DetailRow(TypedDict):
    """A row of the file; `line` is the position of the invoice line on which it is."""

    line: str
    contract: str
    plan: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: str
    unit_price: str
    exact_amount: str
    currency: str


@dataclass(frozen=True, slots=True)
class Detail:
    """A line as it would be on an invoice of any length, and the line on which it is."""

    position: int
    contract_id: str
    plan: str
    charge: str
    band: str
    kind: str
    usage_period: str
    quantity: Decimal
    unit_price: Decimal
    exact_amount: Decimal


def detail_of(position: int, group: Group, plan: str) -> Detail:
    """Give what a group of line items is, by itself, of the line on which it is."""
    contract_id, charge, band, usage_period, unit_price = group.key
    return Detail(
        position,
        contract_id,
        plan,
        charge,
        band,
        group.kind,
        usage_period,
        group.quantity,
        unit_price,
        group.amount,
    )


def detail_rows(details: Iterable[Detail], currency: str) -> list[DetailRow]:
    """Give the rows of the file, numbers as decimal texts."""
    return [
        {
            "line": str(one.position),
            "contract": one.contract_id,
            "plan": one.plan,
            "charge": one.charge,
            "band": one.band,
            "kind": one.kind,
            "usage_period": one.usage_period,
            "quantity": plain(one.quantity),
            "unit_price": plain(one.unit_price),
            "exact_amount": plain(one.exact_amount),
            "currency": currency,
        }
        for one in details
    ]


def detail_csv(details: Iterable[Detail], currency: str) -> str:
    """Write the file, the same to the byte whenever the details are the same."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(DetailRow.__annotations__))
    writer.writeheader()
    writer.writerows(detail_rows(details, currency))
    return text.getvalue()


def file_sha256(text: str) -> str:
    """Hash the file as it is written, in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()
