"""The documents' lists of codes are closed: what is raised is listed, what is listed is raised."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
EVENT_MODULES = [
    *(ROOT / "shared").glob("event*.py"),
    ROOT / "shared/binary_mode.py",
    ROOT / "services/ingest/verdicts.py",
    ROOT / "services/rater/records.py",
    ROOT / "services/rater/metering.py",
]
REQUEST_MODULES = [
    *(ROOT / "services/ingest").glob("*.py"),
    ROOT / "shared/api_keys.py",
]
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")


def listed(heading: str) -> list[str]:
    """Give the codes of a table."""
    section = PAGE.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"^\| `([a-z_]+)`", section, re.MULTILINE)


def calls(modules: list[Path]) -> Iterator[tuple[str, ast.Call]]:
    """Give every call of a plain name."""
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id, node


def codes_in(call: ast.Call) -> set[str]:
    """Give what may be codes among a call's arguments."""
    return {
        argument.value
        for argument in call.args
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and _CODE.fullmatch(argument.value)
    }


def test_the_list_of_an_events_codes_is_closed() -> None:
    raised: set[str] = set()
    for name, call in calls(EVENT_MODULES):
        if name in ("InvalidEventError", "unreadable", "_invalid"):
            raised |= codes_in(call)
        elif name == "Result":
            raised |= codes_in(call) - {"accepted", "duplicate", "rejected"}
    codes = listed("Codes of a rejected event")
    assert sorted(codes) == sorted(raised)


def test_the_list_of_a_requests_codes_is_closed() -> None:
    raised: set[str] = set()
    for name, call in calls(REQUEST_MODULES):
        if name in ("RequestError", "problem"):
            raised |= codes_in(call)
    for module in REQUEST_MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id == "code"
                and isinstance(node.value, ast.Constant)
            ):
                raised.add(str(node.value.value))
    codes = listed("Codes of a refused request")
    assert sorted(codes) == sorted(raised)
