"""What is not sent is carried forward exactly once: over the months nothing is lost or doubled."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.invoicer.building import Draft, build_draft
from services.invoicer.carrying import STRIPE_MINIMUMS, Carried, Minimums
from services.invoicer.payload import invoice_id
from services.invoicer.verifying import first_state
from shared.errors import WrongUseError
from shared.money import MINOR_UNITS, from_minor
from shared.periods import Period
from tests.services.invoicer.factories import CONTRACTS, draft, key, posted

MONTHS = st.lists(st.lists(st.decimals(-3, 3, places=4), max_size=3), min_size=1, max_size=14)
CURRENCIES = st.sampled_from(sorted(MINOR_UNITS))


def _month(period: Period, amounts: list[Decimal], carried: list[Carried], currency: str) -> Draft:
    items = [
        posted("1", str(amount), ids=[n], band=f"band {n}", usage_period=str(period))
        for n, amount in enumerate(amounts)
    ]
    of = key(currency=currency)
    return build_draft(type(of)("acme", str(period), currency), items, CONTRACTS, carried)


@given(MONTHS, CURRENCIES, st.none() | st.decimals(0, 5, places=2))
def test_what_was_sent_and_what_is_carried_still_is_what_was_due(
    months: list[list[Decimal]], currency: str, own: Decimal | None
) -> None:
    minimums = Minimums.read(None if own is None else f"{currency}={own}")
    waiting: list[Carried] = []
    due = sent = 0
    period = Period(2026, 1)
    for amounts in months:
        period = period.next()
        if not amounts:
            continue
        made = _month(period, amounts, waiting, currency)
        due += sum(line.amount_minor for line in made.lines if line.kind != "carried_forward")
        waiting = []
        state, _ = first_state(made, minimums)
        if state == "frozen":
            assert from_minor(made.total_minor, currency) >= minimums.least(currency)
            assert made.total_minor > 0
            sent += made.total_minor
        elif state == "carried_forward":
            waiting = [Carried(invoice_id(made.key), str(period), made.total_minor)]
        else:
            assert (state, made.total_minor) == ("skipped_zero", 0)
    assert sent + sum(one.amount_minor for one in waiting) == due


def test_a_carried_amount_is_a_line_of_exactly_that_amount_and_comes_last() -> None:
    carried = [Carried("inv_a", "2026-08", 20), Carried("inv_b", "2026-09", -35)]
    made = build_draft(key(), [posted()], CONTRACTS, carried)
    assert [(line.amount_minor, line.description) for line in made.lines][1:] == [
        (20, "carried forward from 2026-08"),
        (-35, "carried forward from 2026-09"),
    ]
    assert made.carried == {"inv_a": 2, "inv_b": 3}
    assert made.total_minor == 20 + 20 - 35
    assert [line.exact_amount for line in made.lines] == [
        Decimal("0.2"),
        Decimal("0.20"),
        Decimal("-0.35"),
    ]


def test_every_minimum_is_of_a_currency_that_is_known_and_a_whole_amount_of_it() -> None:
    for currency, least in STRIPE_MINIMUMS.items():
        minor = Fraction(least) * 10 ** MINOR_UNITS[currency]
        assert minor.denominator == 1


@pytest.mark.parametrize("own", ["USD=-1", "USD=NaN", "USD=", "USD", "XXX=1", "USD=1;EUR=1"])
def test_a_minimum_that_cannot_be_one_is_refused(own: str) -> None:
    with pytest.raises(WrongUseError, match="TALLYBOOK_INVOICE_MINIMUMS"):
        Minimums.read(own)


@pytest.mark.parametrize(
    ("own", "currency", "least", "last"),
    [
        (None, "USD", "0.50", "0.50"),
        ("USD=5", "USD", "5", "0.50"),
        ("USD=0", "USD", "0", "0"),
        ("CLP=100", "CLP", "100", "0"),
        (None, "CLP", "0", "0"),
    ],
)
def test_ones_own_minimum_is_none_for_the_last_invoice(
    own: str | None, currency: str, least: str, last: str
) -> None:
    minimums = Minimums.read(own)
    assert minimums.least(currency) == Decimal(least)
    assert minimums.least(currency, is_last=True) == Decimal(last)
    made = replace(draft(posted("3", "1"), currency=currency), is_last=True)
    assert first_state(made, minimums)[0] == "frozen"
