"""The documents: what they promise is there, and nothing that is there is left out."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house.reference import commands
from tests.house.repository import ROOT, documents, text_of

COMMANDS = dict(commands())
PROMISED = (
    "up", "demo", "doctor", "settings", "migrate", "topics", "ingest", "rater", "invoicer",
    "quote", "compare", "usage", "rerate", "events void", "events send",
    "events show", "sources", "customers update", "dead-letters replay", "dead-letters discard",
    "conflicts list", "conflicts resolve",
    "catalogue check", "catalogue apply", "catalogue show",
    "customers add", "customers list", "customers show",
    "contracts start", "contracts switch", "contracts end", "contracts list",
    "keys create", "keys list", "keys revoke", "periods list", "periods close",
    "alerts add", "alerts list", "alerts remove", "alerts raised",
    "webhooks add", "webhooks list", "webhooks test", "webhooks deliveries", "webhooks retry",
    "runs preview", "runs start", "runs show", "runs send", "runs resume", "runs list",
    "invoices list", "invoices show", "invoices carried", "reconcile",
    "dead-letters list", "dead-letters show",
)  # fmt: skip
_CALL = re.compile(r"(?:^|[\s|(`]|bin/)tallybook ((?:[^`|;&)\n]|\\\n)+)")


@pytest.mark.parametrize("name", PROMISED)
def test_the_command_that_scripts_rely_on_exists(name: str) -> None:
    assert tuple(name.split()) in COMMANDS


def test_the_rights_of_a_stripe_key_are_for_the_calls_that_are_made() -> None:
    gateway = text_of("services/invoicer/stripe_gateway.py")
    calls = re.findall(r"self\._v1\.(\w+)\.(?:\w+\.)?(\w+)_async", gateway)
    written = {resource for resource, call in calls if call not in ("retrieve", "list")}
    rights = {resource: "write" if resource in written else "read" for resource, _ in calls}
    page = text_of("docs/how-to/real-stripe-key.md")
    rows = re.findall(r"^\| ([\w ]+) \| (read|write) \|", page, re.MULTILINE)
    assert {name.lower().replace(" ", "_"): right for name, right in rows} == rights


def test_the_readme_starts_with_the_two_commands() -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```", text_of("README.md"), re.MULTILINE | re.DOTALL)
    typed = [line.split("#")[0].strip() for line in blocks[0].splitlines()]
    assert typed == ["make demo", "make test"]
    assert text_of("README.md").index("make demo") < 400


def _typed(file: Path) -> Iterator[str]:
    """Give what a document tells to type: its blocks of shell, and code within its prose."""
    text = file.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield re.sub(r"\$\([^()]*\)", "VALUE", block.replace("\\\n", " "))
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"(?<!`)`(tallybook [^`\n]+)`", prose)


def _calls() -> list[tuple[str, str]]:
    return [
        (str(file.relative_to(ROOT)), " ".join(call.split()))
        for file in documents()
        for text in _typed(file)
        for call in _CALL.findall(text)
    ]


def _command_of(words: list[str]) -> tuple[tuple[str, ...], Any] | None:
    for length in (2, 1):
        path = tuple(words[:length])
        if path in COMMANDS:
            return path, COMMANDS[path]
    return None


@pytest.mark.parametrize(("file", "call"), _calls())
def test_every_command_that_a_document_names_exists_with_its_options(file: str, call: str) -> None:
    words = shlex.split(call, comments=True)
    found = _command_of(words)
    assert found is not None, f"{file}: there is no command: tallybook {call}"
    path, command = found
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    used = {word.split("=")[0].strip("[]") for word in words[len(path) :] if "--" in word}
    assert used <= known, f"{file}: tallybook {' '.join(path)} has no {used - known}"


def test_every_direct_dependency_is_explained() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    names = sorted(re.split(r"[\[<>=~!; ]", requirement)[0] for requirement in wanted)
    listed = re.findall(r"^\| `([^`]+)` \|", text_of("docs/dependencies.md"), re.MULTILINE)
    assert sorted(listed) == names


DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert DECISIONS


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_why_what_and_what_follows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(rf"# {int(path.name[:4])}\. \S", text)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[:3] == ["Context", "Decision", "Consequences"]
    assert len(text.splitlines()) < 80


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_document_is_reached_from_the_index(path: Path) -> None:
    index = ROOT / "docs/README.md"
    if path != index:
        assert f"({path.relative_to(index.parent)})" in text_of("docs/README.md")
