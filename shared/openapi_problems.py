"""Says in an OpenAPI document what every route has in common: its key, and its problems. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.problems import MEDIA_TYPE

PROBLEM = {
    "title": "Problem",
    "description": "Problem details (RFC 9457); the code is the last part of `type`.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}
_KEYED = {
    401: "No API key, or one that is not known, revoked or expired",
    403: "The API key may not do this",
    503: "What is needed for it does not answer now; ask again after `Retry-After`",
}
_INVALID = "Something that was given is not valid; `detail` says where"
_NONE_THERE = "There is none of that name"
_OTHER = "Any other problem"
_METHODS = ("get", "put", "post", "delete", "patch")
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def problem_response(description: str) -> dict[str, Any]:
    """Give the response that says what a problem means."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Complete a document of FastAPI's, and give it.

    FastAPI says of what is not valid what it would answer itself, and nothing of other
    problems. A route that reads the header `Authorization` takes a key.
    """
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, made with `tallybook keys create`",
        }
    }
    for path, operation in _operations(document):
        _complete(operation, named="{" in path)
    return document


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, item[method]


def _complete(operation: dict[str, Any], *, named: bool) -> None:
    parameters = operation.get("parameters", [])
    others = [one for one in parameters if one["name"].lower() != "authorization"]
    keyed = len(others) < len(parameters)
    if parameters:
        operation["parameters"] = others
    problems: dict[int, str] = dict(_KEYED) if keyed else {}
    if keyed:
        operation["security"] = [{"apiKey": []}]
    if operation["responses"].pop("422", None) is not None:
        problems[422] = _INVALID
    if named:
        problems[404] = _NONE_THERE
    for status, description in sorted(problems.items()):
        operation["responses"].setdefault(str(status), problem_response(description))
    operation["responses"].setdefault("default", problem_response(_OTHER))
