"""The image: small, without root, and built from the lock file."""

import re
from pathlib import PurePosixPath

import pytest

from tests.house.repository import ROOT, text_of


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", text_of("infra/Dockerfile"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)
    ]


INSTRUCTIONS = _instructions()


def _last_stage() -> list[tuple[str, str]]:
    last = max(index for index, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM")
    return INSTRUCTIONS[last:]


def test_it_runs_as_a_user_that_is_not_root() -> None:
    users = [rest for word, rest in _last_stage() if word == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert not [word for word, _ in _last_stage()[-2:] if word == "RUN"]


def test_its_bases_are_slim_and_pinned_to_a_release() -> None:
    bases = [rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM"]
    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-\w+", base)


def test_only_the_finished_environment_reaches_the_last_stage() -> None:
    copies = [rest for word, rest in _last_stage() if word == "COPY"]
    assert copies == ["--from=build /opt/tallybook /opt/tallybook"]


def test_dependencies_are_installed_with_their_hashes_checked() -> None:
    installs = [rest for word, rest in INSTRUCTIONS if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes --requirement requirements/base.txt" in installs[0]
    assert "--no-deps" in installs[1]


@pytest.mark.parametrize("word", ["ADD", "MAINTAINER", "ONBUILD"])
def test_it_has_no_instruction_that_does_too_much(word: str) -> None:
    assert word not in [one for one, _ in INSTRUCTIONS]


@pytest.mark.parametrize("tool", ["sudo ", "curl ", "wget ", "apt-get ", "chmod 777"])
def test_it_fetches_nothing_by_itself(tool: str) -> None:
    assert not [rest for word, rest in INSTRUCTIONS if word == "RUN" and tool in rest]


def test_its_commands_are_started_without_a_shell() -> None:
    starts = [rest for word, rest in INSTRUCTIONS if word in ("ENTRYPOINT", "CMD")]
    assert len(starts) == 2
    assert all(rest.startswith("[") for rest in starts)


def test_it_holds_no_secret() -> None:
    named = [rest for word, rest in INSTRUCTIONS if word in ("ENV", "ARG")]
    assert not [
        rest for rest in named if re.search(r"KEY|SECRET|PASSWORD|TOKEN", rest, re.IGNORECASE)
    ]


def test_what_it_copies_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in text_of(".dockerignore").splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for word, rest in INSTRUCTIONS:
        if word == "COPY" and not rest.startswith("--from"):
            copied.update(rest.split()[:-1])
    assert copied == sent
    for name in copied:
        assert (ROOT / PurePosixPath(name)).exists()
