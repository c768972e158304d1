"""Finds the journal's accounts: those shipped, and the file that settings name. I/O: files."""

from importlib.resources import files

from services.invoicer.exporting.accounts import Accounts, read_accounts
from shared.console import read_text
from shared.settings import Settings


def accounts_of(settings: Settings) -> Accounts:
    """Read the accounts; raise `InvalidAccountsError`, `WrongUseError` where there is no file."""
    shipped = files(__package__).joinpath("accounts.yaml").read_text(encoding="utf-8")
    file = settings.journal_accounts
    return read_accounts("" if file is None else read_text(file), shipped, name=str(file))
