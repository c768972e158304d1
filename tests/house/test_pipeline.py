"""The Makefile and .ci/run: what a newcomer and the pipeline type is there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.repository import ROOT, text_of

TARGETS = ("demo", "test", "test-unit", "check", "bench", "lock", "clean", "help")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
"""What make is started with: nothing of the `make test` that may run these tests."""


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target: str) -> None:
    dry = subprocess.run(
        ["make", "--dry-run", target],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode == 0, dry.stderr


def test_make_help_lists_every_target_with_its_purpose() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[0] for line in shown.splitlines() if len(line.split()) > 1}
    assert listed >= set(TARGETS) - {"help"}


def test_check_runs_every_checker() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", text_of("Makefile"), re.MULTILINE)
    assert recipe is not None
    for checker in ("ruff format --check", "ruff check", "mypy", "lint-imports", "tests.links"):
        assert checker in recipe[1]


def test_the_pipeline_runs_what_the_readme_says() -> None:
    script = text_of(".ci/run")
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert re.search(r"^make check$", script, re.MULTILINE)
    assert re.search(r"^make test\b", script, re.MULTILINE)


def test_the_pipeline_stops_at_the_first_failure() -> None:
    assert "set -euo pipefail" in text_of(".ci/run")


_STAND_IN = """
check:
\t@true
test:
\t@for word in $(ARGS); do case $$word in --junitxml=*) \\
\t\techo '{report}' > $${{word#--junitxml=}};; esac; done
\t@echo '3 passed in 0.01s'; exit {status}
"""


@pytest.mark.parametrize(
    ("report", "status", "passes"),
    [
        ("<testcase/>", 0, True),
        ("<testcase><skipped/></testcase>", 0, False),
        ("<testcase><failure/></testcase>", 1, False),
    ],
)
def test_the_pipeline_passes_only_if_all_tests_ran_and_passed(
    tmp_path: Path, report: str, status: int, *, passes: bool
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "Makefile").write_text(_STAND_IN.format(report=report, status=status), "utf-8")
    ran = subprocess.run(
        [tmp_path / ".ci/run"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode == 0) == passes, ran.stderr
    assert "3 passed" in ran.stdout
    if passes:
        assert ran.stdout.splitlines()[-1] == "3 passed in 0.01s"


def test_the_pipeline_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=True)
