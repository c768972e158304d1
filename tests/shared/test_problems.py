"""Errors tell a person what to do, a program what happened, and HTTP the status."""

import pytest

from shared.errors import (
    ConflictingStateError,
    InvalidInputError,
    NotFoundError,
    TallybookError,
    UnavailableError,
    WrongUseError,
)
from shared.money import UnknownCurrencyError
from shared.periods import InvalidPeriodError
from shared.problems import problem, problem_of


@pytest.mark.parametrize(
    ("error", "status", "code", "exit_status"),
    [
        (TallybookError("what"), 400, "error", 1),
        (NotFoundError("what"), 404, "not_found", 1),
        (ConflictingStateError("what"), 409, "conflicting_state", 1),
        (InvalidInputError("what"), 422, "invalid_input", 1),
        (WrongUseError("what"), 400, "wrong_use", 2),
        (UnavailableError("what"), 503, "unavailable", 2),
    ],
)
def test_an_error_becomes_a_problem(
    error: TallybookError, status: int, code: str, exit_status: int
) -> None:
    document = problem_of(error)
    assert document["status"] == status
    assert document["type"] == f"urn:tallybook:problem:{code}"
    assert document["title"]
    assert document["detail"] == "what"
    assert error.exit_status == exit_status


@pytest.mark.parametrize("error", [UnknownCurrencyError("XXX"), InvalidPeriodError("2026-13")])
def test_what_a_user_can_put_right_is_not_the_services_fault(error: TallybookError) -> None:
    assert 400 <= problem_of(error)["status"] < 500


def test_a_problem_may_say_more() -> None:
    document = problem(422, "invalid_input", "is empty", pointer="/plan")
    assert document["pointer"] == "/plan"
    assert document["status"] == 422


def test_a_status_without_a_title_of_its_own_has_one() -> None:
    assert problem(418, "teapot", "short and stout")["title"] == "Error"
