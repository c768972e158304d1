"""The journal's accounts: what is not one's own is as shipped, and what is wrong is said."""

from pathlib import Path

import pytest

from services.invoicer.exporting.accounts import Accounts, Booked, InvalidAccountsError
from services.invoicer.exporting.accounts_file import accounts_of
from shared.errors import WrongUseError
from shared.settings import Settings


def read(tmp_path: Path, text: str) -> Accounts:
    file = tmp_path / "accounts.yaml"
    file.write_text(text)
    return accounts_of(Settings(_env_file=None, journal_accounts=file))


def test_the_first_account_of_revenue_that_fits_is_taken(tmp_path: Path) -> None:
    accounts = read(
        tmp_path,
        """
        receivable: {number: 1400, name: "Forderungen {currency}"}
        revenue:
          - {plan: byok, component: security, number: 8401, name: Security}
          - {plan: byok, component: "*", number: 8402, name: "{component}"}
          - {charge: subscription, number: 8410, name: Fees}
          - {number: 8400, name: Other}
        """,
    )
    booked = {
        Booked("USD", "byok", "executions", "security"): ("8401", "Security"),
        Booked("USD", "byok", "executions", "support"): ("8402", "support"),
        Booked("USD", "byok", "executions"): ("8400", "Other"),
        Booked("USD", "byok_pro", "subscription"): ("8410", "Fees"),
        Booked("USD", "solo", "executions", "security"): ("8400", "Other"),
    }
    assert {one: accounts.of("revenue", one) for one in booked} == booked
    assert accounts.of("receivable", Booked("EUR")) == ("1400", "Forderungen EUR")
    assert accounts.of("adjustments", Booked("EUR")) == ("4900", "Adjustments")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "expected the node content"),
        ("1200", "must hold accounts by their names"),
        ("recievable: {number: 1, name: x}", "unknown field `recievable`"),
        ("receivable: {number: 1}", "missing required field `name`"),
        ("revenue: []", "the last account of revenue must fit all"),
        ("revenue: [{plan: byok, number: 1, name: x}]", "must fit all"),
        ("adjustments: {number: 1, name: '{customer}'}", "the placeholders are {plan}, {charge}"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidAccountsError) as caught:
        read(tmp_path, text)
    assert str(tmp_path) in str(caught.value)
    assert complaint in str(caught.value)


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match=r"nowhere\.yaml cannot be read"):
        accounts_of(Settings(_env_file=None, journal_accounts=tmp_path / "nowhere.yaml"))
