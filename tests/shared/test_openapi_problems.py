"""An OpenAPI document says of every route what its problems are, and whether it takes a key."""

from typing import Any

from shared.openapi_problems import with_problems
from shared.problems import MEDIA_TYPE


def document(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"paths": {path: {"get": {"responses": {"200": {}}, **operation}}}}
    return with_problems(made)


def operation_of(path: str, **operation: Any) -> dict[str, Any]:
    found: dict[str, Any] = document(path, operation)["paths"][path]["get"]
    return found


def test_an_open_route_has_other_problems_only() -> None:
    operation = operation_of("/open")
    assert set(operation["responses"]) == {"200", "default"}
    assert MEDIA_TYPE in operation["responses"]["default"]["content"]
    assert "security" not in operation


def test_a_route_with_a_key_says_so_in_place_of_the_header() -> None:
    own = {"name": "period", "in": "query"}
    operation = operation_of("/x", parameters=[{"name": "authorization", "in": "header"}, own])
    assert operation["parameters"] == [own]
    assert operation["security"] == [{"apiKey": []}]
    assert set(operation["responses"]) == {"200", "401", "403", "503", "default"}


def test_a_route_with_a_name_in_its_path_may_find_none() -> None:
    assert set(operation_of("/x/{id}")["responses"]) == {"200", "404", "default"}


def test_what_fastapi_says_of_invalid_input_is_put_right() -> None:
    wrong = {"description": "Validation Error", "content": {"application/json": {}}}
    operation = operation_of("/x", responses={"200": {}, "422": wrong})
    assert list(operation["responses"]["422"]["content"]) == [MEDIA_TYPE]


def test_what_a_route_says_itself_stays() -> None:
    own = {"description": "its own"}
    assert operation_of("/x/{id}", responses={"404": own})["responses"]["404"] == own
