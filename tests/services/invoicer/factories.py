"""Builds what invoices are made of. Pure: everything follows from the arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.invoicer.building import (
    NOTHING_MORE,
    ContractFacts,
    Draft,
    InvoiceKey,
    Posted,
    build_draft,
)
from services.invoicer.payload import billing_key, line_metadata, payload_sha256
from services.invoicer.stripe_objects import StripeField, StripeInvoice, StripeLine, StripeLines
from services.invoicer.token_costs import TokenCost
from services.invoicer.verifying import FrozenInvoice
from services.invoicer.wording import About

CREATED = 1_790_000_000
CONTRACTS: Mapping[str, ContractFacts] = {
    "con_old": ContractFacts("basic", datetime(2026, 1, 1, tzinfo=UTC)),
    "con_new": ContractFacts("byok_pro", datetime(2026, 10, 16, tzinfo=UTC)),
}


def key(customer: str = "acme", currency: str = "USD", **more: Any) -> InvoiceKey:
    """Make the key of October's invoice."""
    return InvoiceKey(customer, "2026-10", currency, **more)


def posted(quantity: str = "100", price: str = "0.002", **more: Any) -> Posted:
    """Make usage of one charge, 100 executions at $0.002, with the amount that follows."""
    given = {
        "ids": [1],
        "contract_id": "con_old",
        "charge": "executions",
        "band": "all",
        "kind": "usage",
        "usage_period": "2026-10",
        "quantity": Decimal(quantity),
        "unit_price": Decimal(price),
        "amount": Decimal(quantity) * Decimal(price),
    }
    return Posted(**{**given, **more})


def fee(amount: str = "19", **more: Any) -> Posted:
    """Make a recurring fee of a whole month."""
    return posted(
        "1",
        amount,
        **{"charge": "subscription", "band": "whole month", "kind": "recurring", **more},
    )


def fee_back(amount: str = "19", **more: Any) -> Posted:
    """Make the adjustment that takes such a fee back."""
    given = fee(amount, kind="adjustment", **more)
    return replace(given, quantity=-given.quantity, amount=-given.amount)


def token_cost(model: str = "claude-sonnet-4", **more: Any) -> TokenCost:
    """Make a million tokens in and half a million out, at the prices of Sonnet 4."""
    given = {
        "input_tokens": Decimal(1_000_000),
        "output_tokens": Decimal(500_000),
        "currency": "USD",
        "amount": Decimal("10.5"),
    }
    return TokenCost(model, **{**given, **more})


def draft(*items: Posted, **of_key: Any) -> Draft:
    """Build an invoice; by default of 100 executions and a fee. `about` says more of it."""
    about: About = of_key.pop("about", NOTHING_MORE)
    made_of = items or [posted(), fee(ids=[2])]
    return build_draft(key(**of_key), made_of, CONTRACTS, about=about)


def frozen(of: Draft, customer: str = "cus_1") -> FrozenInvoice:
    """Give a draft as it was frozen."""
    return FrozenInvoice(
        billing_key(of.key),
        customer,
        of.key.currency,
        of.total_minor,
        payload_sha256(of),
        of.lines,
        of.wording,
    )


def at_stripe(of: Draft, **changed: Any) -> StripeInvoice:
    """Give the invoice at Stripe that is equal to a draft of ours, but for what is named."""
    given = {
        "id": "in_1",
        "status": "draft",
        "currency": of.key.currency.lower(),
        "customer": "cus_1",
        "subtotal": of.total_minor,
        "total": of.total_minor,
        "created": CREATED,
        "lines": StripeLines(lines_at_stripe(of)),
        "metadata": {"billing_key": billing_key(of.key), "payload_sha256": payload_sha256(of)},
        "footer": of.wording.footer,
        "custom_fields": [StripeField(*one) for one in of.wording.custom_fields],
    }
    return StripeInvoice(**{**given, **changed})


def lines_at_stripe(of: Draft) -> list[StripeLine]:
    """Give the lines at Stripe that are equal to a draft's."""
    return [
        StripeLine(
            f"il_{line.position}",
            line.amount_minor,
            of.key.currency.lower(),
            line.description,
            line_metadata(line),
        )
        for line in of.lines
    ]


def amounts(of: Draft) -> Sequence[int]:
    """Give the lines' rounded amounts."""
    return [line.amount_minor for line in of.lines]
