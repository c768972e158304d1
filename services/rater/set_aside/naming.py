"""Reads which event a record names, though the record is no event that can be taken. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

REPLAY_HEADER = "tallybook-replay-of"
"""The header of a record that was written again: the id of the dead letter that it was."""

_LONGEST = 256


class _Named(msgspec.Struct, gc=False):
    source: object = None
    id: object = None


_decode = msgspec.json.Decoder(_Named).decode

NO_NAME = (None, None)


def event_named(
    payload: bytes | None, headers: Sequence[Sequence[str]]
) -> tuple[str | None, str | None]:
    """Give the source and id that a record names, each None where it cannot be read.

    A record in CloudEvents' binary mode names them in its headers, any other one in its value.
    A record of which nothing was kept, because it held a secret, has no name.
    """
    if payload is None:
        return NO_NAME
    by_name = {pair[0].lower(): pair[1] for pair in headers}
    structured = by_name.get("content-type", "").lower().startswith("application/cloudevents")
    if not structured and any(name.startswith("ce_") for name in by_name):
        return _text(by_name.get("ce_source")), _text(by_name.get("ce_id"))
    try:
        named = _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NO_NAME
    return _text(named.source), _text(named.id)


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or "\0" in value:
        return None
    return value


def replay_of(headers: Iterable[Sequence[str]]) -> int | None:
    """Give the dead letter that a record repeats, None for one that says nothing of it."""
    for name, value in headers:
        if name == REPLAY_HEADER and value.isascii() and value.isdigit():
            return int(value[:18])
    return None


def replay_headers(headers: Iterable[Sequence[str]], letter_id: int) -> list[tuple[str, bytes]]:
    """Give a record's headers as they were, and the dead letter that it now repeats."""
    kept = [(name, value.encode()) for name, value in headers if name != REPLAY_HEADER]
    return [*kept, (REPLAY_HEADER, str(letter_id).encode())]
