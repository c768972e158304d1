"""The journal's accounts: which number and name each thing that is booked has. Pure."""

from typing import NamedTuple

import msgspec
import yaml

from shared.errors import WrongUseError

_ANY = "*"


class InvalidAccountsError(WrongUseError):
    """A file of accounts that cannot be used."""

    code = "invalid_accounts"

    def __init__(self, name: str, complaint: str) -> None:
        super().__init__(f"{name}: {complaint}; see the journal in docs/reference/exports.md")


class Booked(NamedTuple):
    """What is booked; empty where it is of none."""

    currency: str
    plan: str = ""
    charge: str = ""
    component: str = ""


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account as it stands in the file, with placeholders."""

    number: str | int
    name: str

    def of(self, booked: Booked) -> tuple[str, str]:
        """Give number and name for what is booked."""
        facts = booked._asdict()
        return str(self.number).format_map(facts), self.name.format_map(facts)


class RevenueAccount(Account, frozen=True, forbid_unknown_fields=True):
    """An account of revenue, for a plan, a charge, a component, or any."""

    plan: str | None = None
    charge: str | None = None
    component: str | None = None

    def fits(self, booked: Booked) -> bool:
        """Tell whether it is for what is booked."""
        return (
            self.plan in (None, booked.plan)
            and self.charge in (None, booked.charge)
            and (self.component in (None, booked.component) or self._is_any_part(booked))
        )

    def _is_any_part(self, booked: Booked) -> bool:
        return self.component == _ANY and bool(booked.component)

    @property
    def fits_all(self) -> bool:
        """Tell whether there is nothing that it is not for."""
        return self.plan is None and self.charge is None and self.component is None


class Accounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All accounts of a journal."""

    receivable: Account
    carried_forward: Account
    adjustments: Account
    revenue: list[RevenueAccount]

    def of(self, role: str, booked: Booked) -> tuple[str, str]:
        """Give number and name of the account that has a role, for what is booked."""
        if role == "revenue":
            return next(one for one in self.revenue if one.fits(booked)).of(booked)
        account: Account = getattr(self, role)
        return account.of(booked)


def read_accounts(own: str, shipped: str, *, name: str) -> Accounts:
    """Read one's own accounts, from YAML, and the shipped ones in the place of what is not there.

    Raises `InvalidAccountsError`, with the name under which one's own are known.
    """
    try:
        given = yaml.safe_load(own) or {}
        if not isinstance(given, dict):
            raise InvalidAccountsError(name, "must hold accounts by their names")
        accounts = msgspec.convert({**yaml.safe_load(shipped), **given}, Accounts)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InvalidAccountsError(name, " ".join(str(error).split())) from None
    if not accounts.revenue or not accounts.revenue[-1].fits_all:
        raise InvalidAccountsError(name, "the last account of revenue must fit all")
    singles = (accounts.receivable, accounts.carried_forward, accounts.adjustments)
    for account in (*singles, *accounts.revenue):
        _check_placeholders(account, name)
    return accounts


def _check_placeholders(account: Account, name: str) -> None:
    try:
        account.of(Booked("USD", "plan", "charge", "component"))
    except (KeyError, ValueError, IndexError, AttributeError):
        raise InvalidAccountsError(
            name,
            f"{account.number}, {account.name!r}: the placeholders are {{plan}}, {{charge}},"
            " {component} and {currency}",
        ) from None
