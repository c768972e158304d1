"""From a catalogue's price to Stripe's whole number, in currencies of any minor unit."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.building import Draft, InvoiceKey, Posted, build_draft
from services.invoicer.stripe_gateway import StripeGateway
from services.rater.catalogue.document import read_catalogue
from services.rater.pricing import Coverage, price
from shared.money import CHARGED_IN, MINOR_UNITS
from shared.periods import Period
from tests.services.invoicer.factories import CONTRACTS

OCTOBER = Period(2026, 10)
CATALOGUE = """
meters:
  executions: {{event_type: ai.execution.finished, aggregate: count}}
plans:
  abroad:
    version: 1
    name: Abroad
    currency: {currency}
    charges:
      - {{code: subscription, model: recurring, amount: {fee}}}
      - code: executions
        model: graduated
        meter: executions
        tiers:
          - {{up_to: 100, unit_price: {unit_price}, flat_fee: 0}}
          - {{up_to: null, unit_price: {unit_price}, flat_fee: {fee}}}
"""
PRICES = st.decimals("0", "100", places=6)


def invoiced(currency: str, fee: Decimal, unit_price: Decimal, quantity: int) -> Draft:
    """Price a month by a catalogue, and build its invoice."""
    text = CATALOGUE.format(currency=currency, fee=f"{fee:f}", unit_price=f"{unit_price:f}")
    plan = read_catalogue(text, name="test").plans["abroad"]
    items = [
        Posted(
            [number],
            "con_old",
            charge.code,
            band.label,
            "recurring" if charge.code == "subscription" else "usage",
            "2026-10",
            band.quantity,
            band.unit_price,
            band.amount,
        )
        for charge in plan.charges
        for number, band in enumerate(price(charge, Decimal(quantity), Coverage.whole(OCTOBER)))
    ]
    return build_draft(InvoiceKey("acme", "2026-10", plan.currency), items, CONTRACTS)


@given(st.sampled_from(sorted(MINOR_UNITS)), PRICES, PRICES, st.integers(0, 100_000))
def test_every_line_is_the_nearest_amount_that_can_be_charged(
    currency: str, fee: Decimal, unit_price: Decimal, quantity: int
) -> None:
    made = invoiced(currency, fee, unit_price, quantity)
    exact = (
        Fraction(fee) + quantity * Fraction(unit_price) + (Fraction(fee) if quantity > 100 else 0)
    )
    assert sum(Fraction(line.exact_amount) for line in made.lines) == exact
    step = CHARGED_IN[currency]
    for line in made.lines:
        assert line.amount_minor % step == 0
        off = Fraction(line.exact_amount) * 10 ** MINOR_UNITS[currency] - line.amount_minor
        assert abs(off) <= Fraction(step, 2)
    assert made.total_minor == sum(line.amount_minor for line in made.lines)


@pytest.mark.parametrize(
    ("currency", "amounts", "shown"),
    [
        ("USD", [1013, 13], "$10.125"),
        ("JPY", [10, 0], "¥10.125"),
        ("KWD", [10130, 130], "KWD 10.125"),
    ],
)
async def test_stripe_gets_whole_numbers(
    gateway: StripeGateway, currency: str, amounts: list[int], shown: str
) -> None:
    made = invoiced(currency, Decimal("10.125"), Decimal("0.125"), 1)
    assert f"1 × {shown}" in made.lines[0].description
    owner = await gateway.create_customer(customer_id="a", name="A", email="a@example.com", key="1")
    invoice = await gateway.create_invoice(
        stripe_customer=owner.id, currency=currency, days_until_due=30, metadata={}, key="2"
    )
    held = await gateway.add_lines(invoice.id, made.lines, key="3")
    assert [line.amount for line in held.lines.data] == amounts
    assert (held.currency, held.total) == (currency.lower(), made.total_minor)
