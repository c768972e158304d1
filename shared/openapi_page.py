"""A readable page of an OpenAPI document, with nothing in it that comes from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import TypedDict

from shared.pages import page_template

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class Operation(TypedDict):
    """One method of one path, as the page shows it."""

    method: str
    path: str
    summary: str
    description: str
    keyed: bool
    parameters: list[Mapping[str, Any]]
    bodies: list[tuple[str, str]]
    responses: list[tuple[str, str, list[tuple[str, str]]]]


def openapi_page(document: Mapping[str, Any]) -> str:
    """Write the page: each operation with its parameters, bodies and answers, then the schemas."""
    schemas = document.get("components", {}).get("schemas", {})
    return page_template("shared", "openapi_page.html").render(
        info=document["info"],
        operations=list(_operations(document)),
        schemas=[(name, _json(schema)) for name, schema in sorted(schemas.items())],
    )


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if (operation := item.get(method)) is not None:
                yield Operation(
                    method=method.upper(),
                    path=path,
                    summary=operation.get("summary", ""),
                    description=operation.get("description", ""),
                    keyed="security" in operation,
                    parameters=operation.get("parameters", []),
                    bodies=_contents(operation.get("requestBody", {})),
                    responses=[
                        (status, response.get("description", ""), _contents(response))
                        for status, response in operation.get("responses", {}).items()
                    ],
                )


def _contents(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give each media type of a body with its schema, or the example that stands for it."""
    return [
        (media_type, _json(content.get("schema") or content.get("example") or {}))
        for media_type, content in body.get("content", {}).items()
    ]


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
