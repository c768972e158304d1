"""What changed from one run to another is said for each customer and currency."""

from dataclasses import dataclass

from services.invoicer.diffing import Changed, diff_runs


@dataclass
class Invoiced:
    customer_id: str
    total_minor: int
    currency: str = "USD"
    state: str = "frozen"


invoice = Invoiced


def test_equal_runs_differ_in_nothing() -> None:
    made = [invoice("acme", 1), invoice("bob", 2)]
    assert diff_runs(made, reversed(made)) == []


def test_who_came_went_and_changed() -> None:
    before = [invoice("acme", 100), invoice("bob", 200), invoice("cyd", 5)]
    after = [invoice("acme", 150), invoice("cyd", 5), invoice("dan", 7, "EUR")]
    assert diff_runs(before, after) == [
        Changed("acme", "USD", 100, 150),
        Changed("bob", "USD", 200, None),
        Changed("dan", "EUR", None, 7),
    ]
    assert [one.change_minor for one in diff_runs(before, after)] == [50, -200, 7]


def test_void_invoices_do_not_count() -> None:
    before = [invoice("acme", 100)]
    after = [invoice("acme", 90, state="void"), invoice("acme", 100)]
    assert diff_runs(before, after) == []
