"""The commands on a catalogue's file: what they print, line by line, and how they end."""

import io
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.commands import command_line
from services.rater.quotes import commands
from shared.errors import TallybookError, UnavailableError
from tests.services.rater.factories import CATALOGUE_FILE

FILE = ("--catalogue", str(CATALOGUE_FILE))
BYOK = {"plan": "byok", "usage": {"executions": "1000"}}
OWN = {"charges": [{"code": "a", "model": "unit", "unit_price": "0.1"}], "usage": {"a": 5.001}}


def tallybook(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(command_line(arguments[0]), list(arguments), input=given)


def test_one_request_is_answered_with_one_document() -> None:
    ran = tallybook("quote", *FILE, "--json", given=json.dumps(BYOK, indent=2))
    assert (ran.exit_code, json.loads(ran.stdout)["total"]) == (0, "2.00")


def test_a_person_sees_a_table_and_what_the_fee_is_made_of() -> None:
    ran = tallybook("quote", *FILE, given=json.dumps(BYOK))
    assert "2.00 USD" in ran.stdout
    assert "infrastructure 0.50, security 0.30, features 0.70, support 0.50" in ran.stdout
    assert "nothing is due" in tallybook("quote", given='{"charges": []}').stdout


def test_a_request_that_cannot_be_quoted_ends_in_its_error() -> None:
    ran = tallybook("quote", "--json", given='{"charges": [{"code": "a", "model": "x"}]}')
    assert isinstance(ran.exception, TallybookError)
    assert (ran.exception.exit_status, ran.stdout) == (1, "")


def test_each_line_is_answered_and_a_bad_one_by_its_error() -> None:
    lines = [OWN, {**OWN, "usage": {"a": "-1"}}, None, BYOK, "not json"]
    given = "\n".join(
        "" if one is None else one if isinstance(one, str) else json.dumps(one) for one in lines
    )
    ran = tallybook("quote", "--lines", *FILE, given=given)
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.exit_code == 1
    assert [answer.get("total") for answer in answers] == ["0.50", None, "2.00", None]
    assert answers[1]["error"] == {
        "code": "invalid_quote",
        "detail": "usage.a: must be a decimal of 0 or more",
        "place": "usage.a",
        "line": 2,
    }
    assert (answers[3]["error"]["code"], answers[3]["error"]["line"]) == ("invalid_json", 5)


def test_good_lines_end_well() -> None:
    ran = tallybook("quote", "--lines", given=json.dumps(OWN) + "\n" + json.dumps(OWN) + "\n")
    assert (ran.exit_code, len(ran.stdout.splitlines())) == (0, 2)
    assert tallybook("quote", "--lines").exit_code == 0


class Slow(io.BytesIO):
    """Gives what has come so far, a part at a time."""

    def __init__(self, *parts: bytes) -> None:
        super().__init__()
        self.parts = list(parts)

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.parts.pop(0) if self.parts else b""


def test_lines_may_come_in_any_parts() -> None:
    source = Slow(b"one\ntw", b"o\n\nth", b"r", b"ee\nfour\nfi", b"ve", b"", b"lost")
    assert [list(part) for part in commands._lines(source)] == [
        [(1, b"one")],
        [(2, b"two")],
        [(4, b"three"), (5, b"four")],
        [(6, b"five")],
    ]


def test_what_has_come_is_answered_before_more_is_awaited() -> None:
    line = json.dumps(OWN).encode() + b"\n"
    target = io.BytesIO()
    written: list[int] = []

    class Watched(Slow):
        def read1(self, size: int | None = -1, /) -> bytes:
            written.append(target.getvalue().count(b"\n"))
            return super().read1(size)

    def answer(text: bytes) -> Any:
        return json.loads(text)

    assert commands._answer_lines(Watched(line, line + line), target, answer) == 0
    assert written == [0, 1, 3]


def test_a_server_that_is_needed_and_away_stops_the_lines() -> None:
    def answer(text: bytes) -> Any:
        raise UnavailableError("away")

    with pytest.raises(UnavailableError):
        commands._answer_lines(io.BytesIO(b"{}\n"), io.BytesIO(), answer)


def test_compare_prints_both_readings_of_a_saving() -> None:
    given = (
        "compare", *FILE, "--executions", "50000", "--input-tokens", "50000000",
        "--output-tokens", "25000000", "--model", "claude-sonnet-4", "--exclude", "solo",
    )  # fmt: skip
    ran = tallybook(*given, "--json")
    document = json.loads(ran.stdout)
    assert [row["plan"] for row in document["rows"]][:2] == ["byok_pro", "basic"]
    table = tallybook(*given).stdout
    for text in ("saved on fees for", "50.00", "saved with it", "31.00", "594.00"):
        assert text in table


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), 2),
        (("--executions", "many"), 2),
        (("--executions", "-1"), 2),
        (("--executions", "1", "--customer", "acme"), 2),
        (("--executions", "1", "--period", "2026-10"), 2),
        (("--customer", "acme", "--period", "2026-13"), 2),
        (("--executions", "1", "--input-tokens", "5"), 2),
        (("--executions", "1", "--model", "gpt"), 1),
        (("--executions", "1", "--exclude", "gold"), 1),
    ],
)
def test_compare_ends_with_the_status_of_its_fault(arguments: tuple[str, ...], status: int) -> None:
    ran = tallybook("compare", *FILE, *arguments)
    ended = (
        ran.exception.exit_status if isinstance(ran.exception, TallybookError) else ran.exit_code
    )
    assert (ended, ran.stdout) == (status, "")


def test_a_catalogue_that_is_not_valid_is_told_with_its_line(tmp_path: Any) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("plans: 5\n")
    ran = tallybook("compare", "--catalogue", str(file), "--executions", "1")
    assert "wrong.yaml, line 1" in str(ran.exception)
