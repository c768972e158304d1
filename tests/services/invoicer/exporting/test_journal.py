"""The journal balances to the last minor unit, and books every line where it belongs."""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.invoicer.exporting.accounts_file import accounts_of
from services.invoicer.exporting.journal import (
    BOOKINGS,
    Document,
    JournalError,
    JournalLine,
    Part,
    apportion,
    journal_lines,
)
from shared.money import CHARGED_IN, round_to_minor
from shared.settings import Settings
from tests.house.repository import text_of

ACCOUNTS = accounts_of(Settings(_env_file=None, journal_accounts=None))
LAST_DAY, LATER = date(2026, 10, 31), date(2026, 11, 17)
FEE = {
    "infrastructure": Decimal("0.0005"),
    "security": Decimal("0.0003"),
    "features": Decimal("0.0007"),
    "support": Decimal("0.0005"),
}
FINAL = [state for state, booking in BOOKINGS["invoice"].items() if booking]
STANDING = [state for state in FINAL if state not in ("void", "carried_forward")]


def part(minor: int, kind: str = "usage", **more: Any) -> Part:
    given = {"usage_period": "2026-10", "plan": "byok", "charge": "executions", **more}
    return Part(kind, minor, **given)


def document(*parts: Part, state: str = "finalized", total: int | None = None) -> Document:
    whole = sum(one.amount_minor for one in parts) if total is None else total
    return Document("invoice", "inv_1", state, "acme", "Acme", "USD", whole, LATER, parts)


def book(of: Document) -> list[JournalLine]:
    return journal_lines(of, LAST_DAY, ACCOUNTS)


def net(lines: Iterable[JournalLine]) -> dict[str, int]:
    """Give debits less credits, by account; accounts that come to nothing are left out."""
    sums: dict[str, int] = defaultdict(int)
    for line in lines:
        sums[line.account] += line.debit_minor - line.credit_minor
    return {account: minor for account, minor in sums.items() if minor}


AMOUNTS = st.integers(-(10**7), 10**7)
PARTS = st.lists(
    st.builds(
        Part,
        st.sampled_from(["usage", "recurring", "adjustment", "carried_forward"]),
        AMOUNTS,
        st.sampled_from(["2026-09", "2026-10"]),
        st.sampled_from(["byok", "solo"]),
        st.sampled_from(["executions", "subscription"]),
        st.sampled_from([None, {}, FEE, {"x": Decimal(1), "y": Decimal(1), "z": Decimal(1)}]),
    ),
    max_size=6,
)


def by_hand(part: Part) -> dict[str, int]:
    """Split a line as accounting would, in fractions: one unit at a time to whoever lacks most."""
    if part.kind == "adjustment":
        return {"4900": part.amount_minor}
    if part.kind == "carried_forward":
        return {"1210": part.amount_minor}
    account = f"4000-{part.plan}-{part.charge}"
    if not part.components:
        return {account: part.amount_minor}
    whole = sum(map(Fraction, part.components.values()))
    size, sign = abs(part.amount_minor), 1 if part.amount_minor >= 0 else -1
    due = {name: size * Fraction(weight) / whole for name, weight in part.components.items()}
    got = {name: int(amount) for name, amount in due.items()}
    while sum(got.values()) < size:
        got[max(due, key=lambda name: due[name] - got[name])] += 1
    return {f"{account}-{name}": sign * minor for name, minor in got.items()}


@given(PARTS, st.sampled_from(FINAL))
@example([part(7, components=FEE), part(-7, components=FEE)], "void")
def test_every_entry_balances(parts: list[Part], state: str) -> None:
    lines = book(document(*parts, state=state))
    by_entry: dict[str, list[JournalLine]] = defaultdict(list)
    for line in lines:
        by_entry[line.entry].append(line)
        assert min(line.debit_minor, line.credit_minor) == 0
        assert max(line.debit_minor, line.credit_minor) > 0
    for entry in by_entry.values():
        assert sum(one.debit_minor for one in entry) == sum(one.credit_minor for one in entry)


@given(PARTS, st.sampled_from(STANDING))
def test_what_is_booked_is_what_the_lines_say(parts: list[Part], state: str) -> None:
    expected: dict[str, int] = defaultdict(int)
    expected["1200"] = sum(one.amount_minor for one in parts)
    for one in parts:
        for account, minor in by_hand(one).items():
            expected[account] -= minor
    booked = net(book(document(*parts, state=state)))
    assert booked == {account: minor for account, minor in expected.items() if minor}


@given(PARTS)
def test_a_void_invoice_is_booked_and_booked_back_on_its_day(parts: list[Part]) -> None:
    lines = book(document(*parts, state="void"))
    assert net(lines) == {}
    there = [one for one in lines if one.entry == "inv_1"]
    back = [one for one in lines if one.entry == "inv_1/void"]
    assert net(there) == net(book(document(*parts)))
    assert len(there) + len(back) == len(lines)
    assert {one.date for one in there} <= {LAST_DAY}
    assert {one.date for one in back} <= {LATER}


@given(PARTS)
def test_what_is_carried_forward_is_booked_with_its_month_and_cleared_by_the_next(
    parts: list[Part],
) -> None:
    first = document(*parts, state="carried_forward")
    carried = Part("carried_forward", first.total_minor, "2026-10")
    lines = [*book(first), *book(document(carried, part(250, charge="later")))]
    before = sum(one.amount_minor for one in parts if one.kind == "carried_forward")
    assert net(lines).get("1210", 0) == -before
    assert net(lines).get("1200", 0) == first.total_minor + 250


@given(PARTS, st.integers(-5, 5).filter(bool))
def test_an_invoice_that_is_not_the_sum_of_its_lines_is_refused(
    parts: list[Part], off: int
) -> None:
    total = sum(one.amount_minor for one in parts) + off
    with pytest.raises(JournalError, match=f"inv_1 is {total} in minor units of USD"):
        book(document(*parts, total=total))


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(JournalError, match="inv_1 is mislaid"):
        book(document(state="mislaid"))
    with pytest.raises(JournalError, match="a line of kind gift"):
        book(document(part(1, kind="gift")))


@pytest.mark.parametrize(
    "state", [state for state, booking in BOOKINGS["invoice"].items() if not booking]
)
def test_what_is_not_final_is_not_booked(state: str) -> None:
    assert book(document(part(100), state=state)) == []


def test_every_state_of_an_invoice_is_known() -> None:
    schema = text_of("infra/migrations/versions/0001_whole_path.sql")
    table = schema.partition("CREATE TABLE invoices (")[2].partition(");")[0]
    states = re.search(r"state IN \((.*?)\)\)", table, re.DOTALL)
    assert states is not None
    assert set(re.findall(r"'(\w+)'", states[1])) == set(BOOKINGS["invoice"])


def test_a_zero_invoice_moves_between_plans_and_owes_nothing() -> None:
    lines = book(document(part(500), part(-500, plan="solo"), state="skipped_zero"))
    assert net(lines) == {"4000-byok-executions": -500, "4000-solo-executions": 500}


def test_byok_by_its_components() -> None:
    """1,000 executions at $0.002; see the price page."""
    lines = book(document(part(200, components=FEE)))
    assert [(one.account, one.debit_minor, one.credit_minor) for one in lines] == [
        ("1200", 200, 0),
        ("4000-byok-executions-infrastructure", 0, 50),
        ("4000-byok-executions-security", 0, 30),
        ("4000-byok-executions-features", 0, 70),
        ("4000-byok-executions-support", 0, 50),
    ]


EXACT = st.lists(st.decimals(-(10**6), 10**6, places=6), min_size=1, max_size=8)


@given(EXACT, st.sampled_from(["USD", "JPY", "KWD"]))
def test_a_rounded_sum_is_shared_out_to_what_it_is_made_of(
    exact: list[Decimal], currency: str
) -> None:
    minor = round_to_minor(sum(exact, Decimal(0)), currency)
    shares = apportion(minor, exact, currency)
    assert sum(shares) == minor
    places = {"USD": 100, "JPY": 1, "KWD": 1000}[currency]
    for share, one in zip(shares, exact, strict=True):
        assert abs(share - Fraction(one) * places) <= CHARGED_IN[currency]
    assert apportion(-minor, [-one for one in exact], currency) == [-one for one in shares]


def test_an_amount_that_is_not_the_sum_is_not_shared_out() -> None:
    with pytest.raises(ValueError, match="500 is not the sum"):
        apportion(500, [Decimal(1), Decimal(2)], "USD")
