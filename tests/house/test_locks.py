"""The lock files: everything pinned, everything hashed, no address."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.house.repository import ROOT, text_of

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
_ENTRY = re.compile(
    r"^([a-z0-9][a-z0-9._-]*)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)


def _entries(lock: Path) -> dict[str, str]:
    return {found[1]: found[2] for found in _ENTRY.finditer(lock.read_text(encoding="utf-8"))}


def _direct(extra: str | None) -> set[str]:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    names = (re.split(r"[\[<>=~!; ]", requirement)[0] for requirement in wanted)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_is_pinned_with_hashes(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    rest = re.sub(r"^ *#.*\n", "", _ENTRY.sub("", text), flags=re.MULTILINE).strip()
    assert _entries(lock)
    assert not rest


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_address_is_locked(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(
        r"^\s*-", re.sub(r"^    --hash=.*$", "", text, flags=re.MULTILINE), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("base.txt", [None]),
        ("local.txt", [None, "local"]),
        ("dev.txt", [None, "local", "export", "dev"]),
    ],
)
def test_the_lock_covers_what_the_project_asks_for(lock: str, extras: list[str | None]) -> None:
    wanted = set().union(*(_direct(extra) for extra in extras))
    assert wanted <= set(_entries(ROOT / "requirements" / lock))


def test_a_package_has_one_version_in_all_locks() -> None:
    dev = _entries(ROOT / "requirements/dev.txt")
    for name in ("base.txt", "local.txt"):
        for package, version in _entries(ROOT / "requirements" / name).items():
            assert dev[package] == version, f"{package} in {name}"
