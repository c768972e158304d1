"""The page of what must always hold names all twelve rules, and tests that are there."""

import re

from tests.house.repository import ROOT, text_of

PAGE = "docs/explanation/what-must-hold.md"
ROWS = dict(re.findall(r"^\| (I\d+) \|(.+)$", text_of(PAGE), re.MULTILINE))


def test_all_twelve_are_there_each_with_tests() -> None:
    assert list(ROWS) == [f"I{number}" for number in range(1, 13)]
    for row in ROWS.values():
        assert "../../tests/" in row


def test_the_tests_that_are_named_are_where_the_page_says() -> None:
    named = re.findall(r"\[`(test_\w+)`\]\(\.\./\.\./([\w/]+\.py)\)", text_of(PAGE))
    assert named
    for test, file in named:
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_the_numbers_in_code_and_tests_are_those_of_the_page() -> None:
    for folder in ("services", "shared", "infra", "tests"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for number in re.findall(r"\((I\d+)[,)]", file.read_text(encoding="utf-8")):
                assert number in ROWS, f"{file}: {number}"
