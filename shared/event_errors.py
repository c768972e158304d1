"""Why bytes are no event that is taken: a code, a detail and a place. Pure."""

import re

import msgspec

_VALIDATION_PLACE = re.compile(r" - at `\$([^`]*)`$")
_INDEX = re.compile(r"\[(\d+)\]")


class InvalidEventError(Exception):
    """Bytes that are no event we can take: a machine-readable code, a detail, and a place."""

    def __init__(self, code: str, detail: str, pointer: str | None = None) -> None:
        self.code = code
        self.detail = detail
        self.pointer = pointer
        super().__init__(f"{code}: {detail}")


def secret_found() -> InvalidEventError:
    """Make the refusal of an event that holds something like an API key (I11)."""
    return InvalidEventError(
        "secret_in_payload", "the event holds something like an API key; nothing of it is kept"
    )


def pointer_to(name: str) -> str:
    """Write an attribute's name as a JSON pointer, shortened."""
    return "/" + name[:64].replace("~", "~0").replace("/", "~1")


def unreadable(code: str, error: Exception, place: str = "") -> InvalidEventError:
    """Say why msgspec could not read something; `code` is that of JSON of the wrong shape."""
    if isinstance(error, msgspec.ValidationError):
        return _invalid(code, error, place)
    if isinstance(error, RecursionError):
        return InvalidEventError("invalid_json", "nested too deeply", place or None)
    return InvalidEventError("invalid_json", f"not JSON: {error}", place or None)


def _invalid(code: str, error: msgspec.ValidationError, prefix: str) -> InvalidEventError:
    """Turn msgspec's message into a detail and a JSON pointer to the place."""
    message = str(error)
    found = _VALIDATION_PLACE.search(message)
    pointer = prefix
    if found is not None:
        message = message[: found.start()]
        pointer += _INDEX.sub(r".\1", found[1]).replace(".", "/")
    elif missing := re.search(r"missing required field `(\w+)`", message):
        pointer += f"/{missing[1]}"
    return InvalidEventError(code, message, pointer or None)
