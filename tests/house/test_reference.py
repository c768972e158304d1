"""The reference pages say what the code does, all of it."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from fastapi.routing import APIRoute
from prometheus_client import REGISTRY

from services.ingest.reading import BATCH, ONE
from shared.tables import metadata
from tests.house.reference import PAGES, page_path
from tests.house.repository import ROOT, text_of

READABLE_TABLES = (
    "events",
    "line_items",
    "dead_letters",
    "periods",
    "invoice_runs",
    "invoices",
    "invoice_lines",
    "alerts",
    "alerts_raised",
    "silences_raised",
    "outbox",
)
HTTP = text_of("docs/reference/http.md")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_gives(name: str) -> None:
    written = page_path(name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "it is behind: run python -m tests.house.reference"


def _section(page: str, heading: str) -> str:
    found = re.search(rf"^#+ {re.escape(heading)}$\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no heading {heading!r}"
    return found[1]


def _first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("table", READABLE_TABLES)
def test_every_column_of_a_readable_table_is_explained(table: str) -> None:
    listed = _first_column(_section(text_of("docs/reference/tables.md"), table))
    assert listed == [column.name for column in metadata.tables[table].columns]


def test_both_content_types_are_named() -> None:
    assert f"`{ONE}`" in HTTP
    assert f"`{BATCH}`" in HTTP


@pytest.mark.parametrize("service", ["rater", "invoicer"])
def test_every_route_is_listed(service: str) -> None:
    router = import_module(f"services.{service}.routes").router
    routes = [
        f"{method} {route.path}"
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    ]
    assert routes
    assert [route for route in routes if f"`{route}`" not in HTTP] == []


def test_every_metric_is_explained_and_no_other() -> None:
    """Under its service, with its kind."""
    kept = {}
    for service in ("ingest", "rater", "invoicer"):
        import_module(f"services.{service}.app")
    for family in REGISTRY.collect():
        if re.match("tallybook_(ingest|rater|invoicer)_", family.name):
            kept[family.name] = family.type
    rows = re.findall(
        r"^\| `(tallybook_\w+)` \| (\w+) \|", text_of("docs/reference/metrics.md"), re.MULTILINE
    )
    assert dict(rows) == kept


def test_the_files_that_the_pages_name_exist() -> None:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for name in re.findall(
            r"`((?:shared|services|infra|tests|benchmarks)/[\w./-]+\.\w+)`", page.read_text("utf-8")
        ):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_every_class_of_difference_is_explained() -> None:
    source = text_of("services/invoicer/reconciliation/classify.py")
    classes = {
        *_first_arguments(source, ("Difference", "_simple", "_surplus")),
        *re.findall(r"\"(lost|orphan_event|billed_twice|not_sent|missing_in_stripe)\"", source),
    }
    table = re.findall(r"^\|([^|]*)\|", text_of("docs/explanation/reconciliation.md"), re.MULTILINE)
    explained = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert classes
    assert classes <= explained


def _first_arguments(source: str, functions: tuple[str, ...]) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            first = node.args[:1]
            if node.func.id in functions and first and isinstance(first[0], ast.Constant):
                yield str(first[0].value)
