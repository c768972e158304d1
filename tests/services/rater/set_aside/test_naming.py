"""Which event a record names, though it is none that can be taken."""

import pytest

from services.rater.set_aside.naming import event_named, replay_headers, replay_of

STRUCTURED = [["content-type", "application/cloudevents+json; charset=UTF-8"]]
BINARY = [["content-type", "application/json"], ["ce_source", "agents/a"], ["ce_id", "1"]]


@pytest.mark.parametrize(
    ("payload", "headers", "name"),
    [
        (b'{"source":"s","id":"1","time":"never"}', [], ("s", "1")),
        (b'{"source":"s","id":"1"}', STRUCTURED, ("s", "1")),
        (b'{"source":"data","id":"of the data"}', BINARY, ("agents/a", "1")),
        (b'{"source":"s","id":"1"}', [*STRUCTURED, ["ce_id", "2"]], ("s", "1")),
        (b"not json at all", BINARY, ("agents/a", "1")),
        (b'{"source":"data","id":"of the data"}', [["ce_source", "agents/a"]], ("agents/a", None)),
        (b'{"source":"s"}', [], ("s", None)),
        (b'{"source":7,"id":""}', [], (None, None)),
        (b'{"source":"a\\u0000b","id":"1"}', [], (None, "1")),
        (b'{"source":"' + b"s" * 257 + b'","id":"1"}', [], (None, "1")),
        (b'{"source":"\\ud800","id":"1"}', [], (None, None)),
        (b'["source"]', [], (None, None)),
        (b'{"source":"s","id":"1"', [], (None, None)),
        (b"[" * 100_000, [], (None, None)),
        (b"\xff\xfe", [], (None, None)),
        (b"", [], (None, None)),
        (None, BINARY, (None, None)),
    ],
)
def test_the_name_is_read_where_the_mode_has_it(
    payload: bytes | None, headers: list[list[str]], name: tuple[str | None, str | None]
) -> None:
    assert event_named(payload, headers) == name


def test_a_replayed_record_has_its_headers_and_says_whose_replay_it_is() -> None:
    once = replay_headers(BINARY, 7)
    assert once[:-1] == [(name, value.encode()) for name, value in BINARY]
    again = replay_headers([[name, value.decode()] for name, value in once], 8)
    assert again[:-1] == once[:-1]
    assert replay_of([[name, value.decode()] for name, value in again]) == 8


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "²"])
def test_a_header_that_names_no_dead_letter_says_nothing(value: str) -> None:
    assert replay_of([["tallybook-replay-of", value]]) is None
