"""What is sent to Stripe for an invoice, frozen in one canonical form and hashed. Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from urllib.parse import quote

import msgspec

from services.invoicer.building import LINES_PER_INVOICE as LINES_PER_INVOICE
from services.invoicer.building import Draft, DraftLine, InvoiceKey
from services.invoicer.fee_days import fee_days
from shared.money import plain
from shared.periods import Period

METADATA_LENGTH = 500
"""The longest value that Stripe takes in metadata."""

LINES_PER_CALL = 100
"""The most lines that Stripe takes in one call of add_lines."""

_LONGEST_CUSTOMER = 300


def billing_key(key: InvoiceKey) -> str:
    """Name an invoice, here and at Stripe: ``acme:2026-10:USD:monthly:1``."""
    customer = quote(key.customer_id, safe="")
    if len(customer) > _LONGEST_CUSTOMER:
        customer = f"sha256-{hashlib.sha256(key.customer_id.encode()).hexdigest()}"
    return f"{customer}:{key.period}:{key.currency}:{key.kind}:{key.revision}"


def invoice_id(key: InvoiceKey) -> str:
    """Give an invoice's own id, which follows from what it is for."""
    return f"inv_{hashlib.sha256(billing_key(key).encode()).hexdigest()[:20]}"


def payload_sha256(draft: Draft) -> str:
    """Hash all that the invoice says: any change of a line or amount changes it."""
    document = {
        "billing_key": billing_key(draft.key),
        "customer": draft.key.customer_id,
        "period": draft.key.period,
        "currency": draft.key.currency,
        "total_minor": draft.total_minor,
        "custom_fields": draft.wording.custom_fields,
        "footer": draft.wording.footer,
        "detail_sha256": draft.detail_sha256,
        "lines": [
            {
                "amount_minor": line.amount_minor,
                "description": line.description,
                "metadata": line_metadata(line),
            }
            for line in draft.lines
        ],
    }
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()


def run_sha256(payloads: Iterable[tuple[str, str]]) -> str:
    """Hash all invoices of a run, each given by its id and its payload's hash, in any order."""
    return hashlib.sha256(msgspec.json.encode(sorted(payloads))).hexdigest()


def line_metadata(line: DraftLine) -> dict[str, str]:
    """Give the facts by which a line at Stripe can be followed back to ours."""
    facts = {
        "position": str(line.position),
        "charge": line.charge,
        "band": line.band,
        "kind": line.kind,
        "quantity": plain(line.quantity),
        "unit_price": plain(line.unit_price),
        "exact_amount": plain(line.exact_amount),
        "usage_period": line.usage_period,
        "contract": line.contract_id,
    }
    days = fee_days(line.band, line.usage_period)
    if days is not None:
        facts["days"] = str(days)
    return {name: value[:METADATA_LENGTH] for name, value in facts.items()}


def usage_seconds(line: DraftLine) -> tuple[int, int]:
    """Give what the line covers as Unix times, first second and end: its month, or a fee's days."""
    period = Period.parse(line.usage_period)
    days = fee_days(line.band, line.usage_period)
    start, end = (period.start, period.end) if days is None else days.moments(period)
    return int(start.timestamp()), int(end.timestamp())


def chunks(lines: Sequence[DraftLine]) -> list[list[DraftLine]]:
    """Part lines into calls; a line's call follows from its position alone."""
    parts: dict[int, list[DraftLine]] = {}
    for line in lines:
        parts.setdefault((line.position - 1) // LINES_PER_CALL, []).append(line)
    return [parts[number] for number in sorted(parts)]
