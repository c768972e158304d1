"""Turns an event in binary mode, attributes beside its data, into the one structured form. Pure.

Only that form stands on the log and is judged, so that all ways in have the same rules.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import re
from collections.abc import Iterable

import msgspec

from shared.event_errors import InvalidEventError, pointer_to, secret_found
from shared.events import checked_json, is_json_type
from shared.secrets_guard import holds_secret

HTTP_PREFIX = b"ce-"
_NOT_IN_HEADERS = {
    "data": "data is the body, not a header",
    "data_base64": "data is the body, not a header",
    "datacontenttype": "the type of the data stands in the header content-type",
}
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")


class BinaryEvent(msgspec.Struct, frozen=True):
    """An event in binary mode, or what could be read of one: attributes, data, and what is wrong.

    `structured` is what is judged; where it is None, `error` says why there is none.
    """

    id: str | None
    source: str | None
    structured: bytes | None
    error: InvalidEventError | None

    def text(self) -> bytes:
        """Give the structured form, or raise the `InvalidEventError` that says why not."""
        if self.structured is None:
            assert self.error is not None
            raise self.error
        return self.structured


def http_attributes(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, bytes]]:
    """Give the attributes of an HTTP request's headers, unquoted and percent-decoded once."""
    start = len(HTTP_PREFIX)
    return [
        (name[start:].decode("latin-1"), _decoded(value))
        for name, value in headers
        if name.startswith(HTTP_PREFIX)
    ]


def read_binary(
    attributes: Iterable[tuple[str, bytes]], content_type: str | None, data: bytes | None
) -> BinaryEvent:
    """Join attributes, their values in UTF-8, and data to one structured event.

    A content type that is missing counts as JSON.
    """
    attributes = list(attributes)
    whole = b"\n".join([*(name.encode() + b":" + value for name, value in attributes), data or b""])
    if holds_secret(whole):
        return BinaryEvent(None, None, None, secret_found())
    values: dict[str, object] = {}
    wrong: InvalidEventError | None = None
    for name, value in attributes:
        try:
            _add(values, name, value)
        except InvalidEventError as error:
            wrong = wrong or error
    try:
        if data:
            values["data"] = _data(content_type, data)
    except InvalidEventError as error:
        wrong = wrong or error
    if content_type and content_type != "application/json":
        values["datacontenttype"] = content_type
    structured = None if wrong else msgspec.json.encode(values)
    return BinaryEvent(_text(values, "id"), _text(values, "source"), structured, wrong)


def _text(values: dict[str, object], name: str) -> str | None:
    return str(values[name]) if name in values else None


def _add(values: dict[str, object], name: str, value: bytes) -> None:
    place = pointer_to(name)
    if name in _NOT_IN_HEADERS:
        raise InvalidEventError("invalid_event", _NOT_IN_HEADERS[name], place)
    if name in values:
        raise InvalidEventError("invalid_event", "stands in two headers", place)
    try:
        values[name] = value.decode()
    except UnicodeDecodeError:
        detail = "the header is not in UTF-8; over HTTP, percent-encode what is not ASCII"
        raise InvalidEventError("invalid_event", detail, place) from None


def _data(content_type: str | None, data: bytes) -> msgspec.Raw:
    if content_type and not is_json_type(content_type):
        raise InvalidEventError(
            "unsupported_datacontenttype", "data must be application/json", "/datacontenttype"
        )
    return checked_json(data, "/data")


def _decoded(value: bytes) -> bytes:
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = re.sub(rb"\\(.)", rb"\1", quoted[1], flags=re.DOTALL)
    return _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), value)
