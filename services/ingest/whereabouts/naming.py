"""Reads which event a request's path names. Pure."""

from urllib.parse import unquote_to_bytes

from shared.errors import InvalidInputError

_BEFORE = b"/v1/events/"


def event_of_path(raw_path: bytes) -> tuple[str, str]:
    """Give the source and id of a path as it was sent, ``/v1/events/{source}/{id}``.

    Both are percent-encoded, so that each may hold a slash, as ``%2F``. Raises
    `InvalidInputError`.
    """
    parts = raw_path.partition(_BEFORE)[2].split(b"/")
    if len(parts) != 2 or not all(parts):
        raise InvalidInputError(
            "write /v1/events/SOURCE/ID, with every slash in the source or id written as %2F"
        )
    source, event_id = (_decoded(part) for part in parts)
    return source, event_id


def _decoded(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise InvalidInputError("the source and id must be UTF-8, percent-encoded") from None
    if "\0" in text:
        raise InvalidInputError("no source or id holds a NUL character")
    return text
