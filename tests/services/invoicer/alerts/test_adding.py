"""What an alert may be, and how it is said why it may not."""

from decimal import Decimal
from typing import Any

import pytest

from services.invoicer.alerts.adding import InvalidAlertError, Wanted, read_decimal
from shared.periods import Period

MONTH = Period(2026, 10)


def numbers(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


def test_thresholds_come_in_order() -> None:
    assert Wanted(MONTH, at=numbers("500", "20.5")).thresholds() == numbers("20.5", "500")
    budget = Wanted(MONTH, budget=Decimal(250), percents=numbers("100", "50", "120"))
    assert budget.thresholds() == numbers("50", "100", "120")


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({}, "at least one threshold"),
        ({"percents": numbers("80")}, "say how much"),
        ({"budget": Decimal(100)}, "percents of it"),
        ({"budget": Decimal(100), "at": numbers("80")}, "percents of it"),
        ({"budget": Decimal(100), "at": numbers("1"), "percents": numbers("8")}, "percents of it"),
        ({"at": numbers("0")}, "0 is no threshold"),
        ({"at": numbers("-1")}, "-1 is no threshold"),
        ({"at": numbers("NaN")}, "NaN is no threshold"),
        ({"at": numbers("Infinity")}, "Infinity is no threshold"),
        ({"budget": Decimal(0), "percents": numbers("80")}, "0 is no threshold"),
        ({"at": numbers("1000000000001")}, "too large"),
        ({"at": numbers("1E+1000000")}, "too large"),
        ({"at": numbers("0.0000000000001")}, "too precise"),
        ({"at": numbers("5", "7", "5.00")}, "5 is named twice"),
        ({"at": numbers(*map(str, range(1, 22)))}, "at most 20"),
        ({"at": numbers("5"), "meter": "executions", "currency": "USD"}, "has no currency"),
    ],
)
def test_what_is_no_alert_is_said(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidAlertError, match=words):
        Wanted(MONTH, **terms).thresholds()


def test_a_number_is_a_decimal() -> None:
    assert read_decimal("99.50") == Decimal("99.5")
    for text in ("", "ten", "1,5", "$5"):
        with pytest.raises(InvalidAlertError, match="no decimal number"):
            read_decimal(text)
