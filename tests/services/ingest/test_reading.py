"""How a request is read: by its content type, its encoding and its ce- headers."""

import gzip
import json

import msgspec
import pytest

from services.ingest.reading import BATCH, ONE, Reader, RequestError, RequestLimits
from services.ingest.verdicts import Unread
from shared.binary_mode import BinaryEvent
from tests.shared.factories import event_bytes

LIMITS = RequestLimits(max_bytes=10_000, max_events=3)
CE = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}


def reader(**headers: str) -> Reader:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reader([(k.encode(), v.encode("latin-1")) for k, v in named.items()], LIMITS)


def read(body: bytes, **headers: str) -> list[Unread]:
    found = reader(**headers)
    return list(found.events(found.plain(body)))


def refusal(body: bytes, **headers: str) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(body, **headers)
    assert str(caught.value)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize("parameters", ["", "; charset=UTF-8", " ;charset=utf-8"])
def test_a_structured_event_is_left_as_it_came(parameters: str) -> None:
    assert read(b" {} ", content_type=ONE.upper() + parameters) == [b" {} "]


def test_a_batch_is_cut_into_its_events() -> None:
    raws = read(b'[{"a": 1}, 2]', content_type=BATCH)
    assert [bytes(raw) for raw in raws if isinstance(raw, msgspec.Raw)] == [b'{"a": 1}', b"2"]


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[1", b"\xff", b"[" * 5_000])
def test_a_body_that_is_no_batch_is_refused(body: bytes) -> None:
    assert refusal(body, content_type=BATCH) == (400, "invalid_json")


def test_a_request_has_a_bound_on_its_events_and_bytes() -> None:
    assert refusal(b"[1,2,3,4]", content_type=BATCH) == (413, "too_many_events")
    for declared in ("10001", "-1", "x", "9" * 5_000):
        assert refusal(b"", content_type=ONE, content_length=declared) == (413, "too_large")


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", ""]
)
def test_headers_of_an_event_make_a_request_binary(content_type: str) -> None:
    headers = {**CE, "content-type": content_type} if content_type else CE
    (event,) = read(b'{"a":1}', **headers)
    assert isinstance(event, BinaryEvent)
    assert json.loads(event.text())["data"] == {"a": 1}


@pytest.mark.parametrize("content_type", [ONE, BATCH])
def test_the_content_type_counts_where_a_request_has_headers_of_an_event_too(
    content_type: str,
) -> None:
    (event,) = read(b"[7]", **{**CE, "content-type": content_type})
    assert not isinstance(event, BinaryEvent)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {**CE, "content-type": "application/cloudevents+avro"},
        {**CE, "content-type": "application/cloudevents"},
    ],
)
def test_what_has_none_of_the_modes_is_refused(headers: dict[str, str]) -> None:
    assert refusal(b"{}", **headers) == (415, "unsupported_media_type")


def test_an_encoding_is_undone_first() -> None:
    body = event_bytes()
    for encoding in ("gzip", "GZIP", " x-gzip"):
        assert read(gzip.compress(body), content_type=ONE, content_encoding=encoding) == [body]
    assert read(body, content_type=ONE, content_encoding="identity") == [body]


def test_an_encoding_that_is_unknown_broken_or_a_bomb_is_refused() -> None:
    def refused(body: bytes, encoding: str) -> tuple[int, str]:
        return refusal(body, content_type=ONE, content_encoding=encoding)

    assert refused(b"{}", "br") == (415, "unsupported_encoding")
    assert refused(b"{}", "gzip, zstd") == (415, "unsupported_encoding")
    assert refused(b"{}", "gzip") == (400, "invalid_encoding")
    assert refused(gzip.compress(b" " * 10_001), "gzip") == (413, "too_large")
