"""No log line holds a value out of a payload, whatever went wrong with it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.errors import NotFoundError
from shared.logs import configure, describe_exception
from shared.settings import Settings

MARK = "marked-value-3141"


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def stumble(value: str) -> None:
    try:
        int(value)
    except ValueError as error:
        raise KeyError(value) from error


def caught() -> BaseException:
    try:
        stumble(MARK)
    except KeyError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("log_json", [False, True])
def test_an_exception_is_logged_with_its_places_and_without_values(
    log_json: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(Settings(log_json=log_json))
    try:
        stumble(MARK)
    except KeyError:
        structlog.get_logger("test").exception("it failed", batch=7)
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    lines = capfd.readouterr().err
    assert MARK not in lines
    for words in ("it failed", "in stumble", "KeyError", "ValueError"):
        assert words in lines
    if log_json:
        assert json.loads(lines.splitlines()[0])["batch"] == 7


def test_our_own_words_are_kept_and_groups_are_opened() -> None:
    group = BaseExceptionGroup("several", [NotFoundError("there is no run 'x'"), caught()])
    said = describe_exception(group)
    assert "shared.errors.NotFoundError: there is no run 'x'" in said
    assert "KeyError" in said
    assert MARK not in said


def test_of_an_error_of_postgres_the_state_is_said() -> None:
    error = ValueError(f"DETAIL: Failing row contains ({MARK})")
    error.sqlstate = "23502"  # type: ignore[attr-defined]
    assert describe_exception(error).endswith("ValueError (23502)")


def test_an_exception_that_came_of_itself_ends() -> None:
    error = caught()
    error.__context__ = error
    error.__cause__ = None
    assert "KeyError" in describe_exception(error)
