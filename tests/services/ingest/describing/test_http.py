"""Ingest's OpenAPI document says what its raw route does: its answers, codes and limits."""

import re
from typing import Any

import jsonschema
import msgspec
import pytest

from services.ingest.app import make_app
from services.ingest.verdicts import Answer, Result
from shared.openapi_page import openapi_page
from shared.settings import Settings
from tests.house.repository import text_of


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = make_app(Settings())._api.openapi()
    return made


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Give a schema with all that it may refer to."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def _references(value: object) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def test_the_other_routes_are_still_there(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {"/v1/events", "/v1/sources", "/health/ready"} <= set(document["paths"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = _references(document)
    assert "#/components/schemas/Answer" in found
    names = {reference.removeprefix("#/components/schemas/") for reference in found}
    assert names <= set(document["components"]["schemas"])


def test_an_answer_fits_its_schema(document: dict[str, Any]) -> None:
    results = [
        Result("1", "shop", "accepted"),
        Result(None, None, "rejected", "invalid_json", "not JSON", "/data"),
    ]
    answer = msgspec.to_builtins(Answer(1, 0, 1, results))
    jsonschema.Draft202012Validator(_schema(document, "Answer")).validate(answer)


def test_an_event_fits_its_schema_and_one_without_a_customer_does_not(
    document: dict[str, Any],
) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "shop",
        "type": "ai.execution.finished",
        "subject": "acme",
        "time": "2026-10-03T12:00:00Z",
        "data": {"execution_id": "1", "status": "succeeded", "model": "m"},
        "traceparent": "kept as an extension",
    }
    validator = jsonschema.Draft202012Validator(_schema(document, "CloudEvent"))
    validator.validate(event)
    jsonschema.Draft202012Validator(_schema(document, "Execution")).validate(event["data"])
    del event["subject"]
    assert not validator.is_valid(event)


def test_the_statuses_are_those_of_the_reference_page(document: dict[str, Any]) -> None:
    """405 and 500 can come of any route, and are said of none."""
    page = text_of("docs/reference/http.md")
    codes = page[page.index("### Codes of a refused request") : page.index("## Rater")]
    statuses = set(re.findall(r"^\| `\w+` \| (\d+) \|", codes, re.MULTILINE)) - {"405", "500"}
    assert set(document["paths"]["/v1/events"]["post"]["responses"]) == {"200", *statuses}


def test_the_page_shows_every_route_and_loads_nothing(document: dict[str, Any]) -> None:
    page = openapi_page(document)
    for path, item in document["paths"].items():
        for method in item:
            assert f">{method.upper()} {path}</h2>" in page
    assert re.findall(r"(?:src|href)=\"(?![#])([^\"]*)\"", page) == ["openapi.json"]
    keyed = [
        one for item in document["paths"].values() for one in item.values() if "security" in one
    ]
    assert page.count("Takes an API key") == len(keyed) >= 4
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_shows_text_as_text() -> None:
    document = {
        "openapi": "3.1.0",
        "info": {"title": "<b>T</b>", "version": "1", "description": ""},
        "paths": {"/x": {"get": {"description": "<script>alert(1)</script>"}}},
    }
    page = openapi_page(document)
    assert "<script>" not in page
    assert "<b>T</b>" not in page
    assert "&lt;script&gt;" in page
