"""What a module says of itself in its first docstring holds."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repository import ROOT, text_of

_PURE = re.compile(r"\bPure\b(?!, but)")
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
}
PURE: list[str] = CONTRACTS["pure"]["source_modules"]


def _modules() -> Iterator[tuple[str, Path]]:
    for package in ("services", "shared", "infra"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(_modules())


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name: str) -> None:
    assert _docstring(MODULES[name])


@pytest.mark.parametrize(
    "name", [name for name, path in MODULES.items() if _PURE.search(_docstring(path))]
)
def test_a_module_that_calls_itself_pure_is_held_to_it(name: str) -> None:
    assert any(name == pure or name.startswith(f"{pure}.") for pure in PURE), (
        f"{name} calls itself pure; name it in the contract `pure` of pyproject.toml"
    )


@pytest.mark.parametrize("name", PURE)
def test_a_module_that_is_held_to_be_pure_says_so(name: str) -> None:
    path = MODULES[name]
    assert re.search(r"\bpure\b", _docstring(path), re.IGNORECASE)


@pytest.mark.parametrize(
    "contract", ["stripe-in-one-module", "kafka-in-named-modules", "asyncpg-in-named-modules"]
)
def test_the_contract_looks_at_every_package(contract: str) -> None:
    assert CONTRACTS[contract]["source_modules"] == ["services", "shared", "infra"]
