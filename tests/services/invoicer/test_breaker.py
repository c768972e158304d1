"""A run stops where Stripe is at fault, and not where customers are."""

from services.invoicer.breaker import MOST_FAILURES, Breaker

SAID = "Stripe says (503): no"


def test_so_many_failures_in_a_row_stop_the_run_and_say_why() -> None:
    breaker = Breaker()
    said = [breaker.note("failed_retryable", SAID) for _ in range(MOST_FAILURES)]
    assert said[:-1] == [None] * (MOST_FAILURES - 1)
    assert said[-1] == "5 invoices in a row failed, the last one: Stripe says (503): no"


def test_an_answer_between_them_begins_the_count_anew() -> None:
    breaker = Breaker()
    states = [*["failed_retryable"] * (MOST_FAILURES - 1), "finalized"] * 3 + ["needs_review"] * 9
    assert [breaker.note(state, SAID) for state in states] == [None] * len(states)
