"""Errors over HTTP: problem details (RFC 9457). Pure."""

from typing import Any

from shared.errors import TallybookError

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:tallybook:problem:"

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict with the present state",
    413: "Request too large",
    415: "Unsupported media type",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    502: "Not answered by another service",
    503: "Not available now",
}


def problem(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    """Make a problem document; `code` becomes the last part of its type."""
    return {
        "type": _TYPE_PREFIX + code,
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        **members,
    }


def problem_of(error: TallybookError) -> dict[str, Any]:
    """Make the problem document of an error."""
    return problem(error.status, error.code, str(error))
