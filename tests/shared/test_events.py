"""What is an event and what is not: every code that an event can be refused with."""

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.event_data import read_data
from shared.event_errors import InvalidEventError
from shared.events import TimeLimits, read_event
from tests.shared.factories import (
    NOW,
    event_bytes,
    event_document,
    event_with_raw_data,
    execution_data,
)

OTHER = "com.example.other"
"""A type that Tallybook knows nothing of; its data may be any object."""


def refusal(raw: bytes) -> tuple[str, str | None]:
    """Give code and place with which an event is refused."""
    with pytest.raises(InvalidEventError) as caught:
        read_data(read_event(raw))
    assert caught.value.detail
    assert str(caught.value) == f"{caught.value.code}: {caught.value.detail}"
    return caught.value.code, caught.value.pointer


def test_an_execution_event_is_read() -> None:
    event = read_event(event_bytes(time="2026-10-16T10:30:00+02:00"))
    assert (event.id, event.source, event.subject) == ("event-1", "agents", "customer-1")
    assert event.time == datetime(2026, 10, 16, 8, 30, tzinfo=UTC)
    assert msgspec.to_builtins(read_data(event)) == execution_data()


def test_unknown_attributes_and_fields_are_kept_or_ignored_but_never_refused() -> None:
    data = execution_data(region="eu", steps=[1, {"name": "plan"}])
    event = read_event(event_bytes(data, traceparent="00-ab-cd-01", dataschema="urn:x"))
    assert read_data(event) == data


def test_numbers_with_a_fraction_are_exact() -> None:
    event = read_event(event_with_raw_data('{"a":0.1,"b":1.10,"c":3,"d":1e2}', type=OTHER))
    data = read_data(event)
    assert data == {"a": Decimal("0.1"), "b": Decimal("1.10"), "c": 3, "d": Decimal(100)}
    assert type(data["a"]) is Decimal


def test_the_last_of_two_equal_keys_counts_everywhere() -> None:
    assert read_data(read_event(event_with_raw_data('{"a":1,"a":2}', type=OTHER))) == {"a": 2}


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time", "data"])
def test_an_attribute_that_is_missing_is_named(name: str) -> None:
    document = event_bytes().replace(f'"{name}"'.encode(), b'"elsewhere"', 1)
    assert refusal(document) == ("invalid_event", f"/{name}")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"specversion": 1.0}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"id": 7}, "/id"),
        ({"id": "x" * 257}, "/id"),
        ({"id": "two\nlines"}, "/id"),
        ({"id": "nul\x00"}, "/id"),
        ({"source": ""}, "/source"),
        ({"source": "bell\x07"}, "/source"),
        ({"type": ["x"]}, "/type"),
        ({"type": "escape\x1b"}, "/type"),
        ({"subject": ""}, "/subject"),
        ({"subject": "tab\t"}, "/subject"),
        ({"time": "yesterday"}, "/time"),
        ({"time": "2026-10-16"}, "/time"),
        ({"time": "2026-10-16T08:30:00"}, "/time"),
        ({"time": "2026-10-16T08:30:60Z"}, "/time"),
        ({"time": 1_790_000_000}, "/time"),
        ({"datacontenttype": 1}, "/datacontenttype"),
        ({"id": "c1\x9b"}, "/id"),
        ({"source": "turned \u202e round"}, "/source"),
        ({"subject": "hidden\u200b"}, "/subject"),
        ({"subject": "\ufeffmark"}, "/subject"),
        ({"type": "none\uffff"}, "/type"),
        ({"Team": "x"}, "/Team"),
        ({"team_name": "x"}, "/team_name"),
        ({"a/b~": "x"}, "/a~1b~0"),
        ({"": "x"}, "/"),
        ({"x" * 65: "y"}, "/" + "x" * 64),
        ({"team": ["x"]}, "/team"),
        ({"team": {}}, "/team"),
        ({"team": 0.5}, "/team"),
        ({"team": 2**31}, "/team"),
        ({"team": "x" * 1_025}, "/team"),
        ({"team": "ü" * 513}, "/team"),
        ({"team": "a\x01"}, "/team"),
        ({"traceparent": "a\x01"}, "/traceparent"),
        ({"traceparent": "a\x85"}, "/traceparent"),
        ({"tracestate": "x" * 1_025}, "/tracestate"),
        ({"traceparent": []}, "/traceparent"),
        ({"dataschema": ""}, "/dataschema"),
        ({"dataschema": 7}, "/dataschema"),
        ({"dataschema": "x" * 2_049}, "/dataschema"),
        ({"data_base64": "e30="}, "/data_base64"),
    ],
)
def test_an_attribute_that_is_wrong_is_named(changes: dict[str, Any], pointer: str) -> None:
    assert refusal(event_bytes(**changes)) == ("invalid_event", pointer)


def test_extensions_have_bounds_that_can_be_reached() -> None:
    extensions: dict[str, Any] = {f"{'x' * 62}{number}": "y" for number in range(10, 54)}
    read_event(
        event_bytes(
            **extensions, a="x" * 1_024, b="ü" * 512, c=-(2**31), d=2**31 - 1, e=True, f="",
            dataschema="urn:x", id="Zoë 👩‍💻 ض",
        )
    )  # fmt: skip
    many = {f"a{number}": "y" for number in range(50)}
    read_event(event_bytes(**many))
    assert refusal(event_bytes(**many, more="y")) == ("invalid_event", None)


class TestBase64:
    """Data that an SDK was given as bytes comes in base64."""

    def test_json_in_base64_is_data(self) -> None:
        text = json.dumps(execution_data(), indent=1).encode()
        event = read_event(self.event(base64.b64encode(text).decode()))
        assert read_data(event) == execution_data()

    @pytest.mark.parametrize(
        ("encoded", "code"),
        [
            ("?", "invalid_event"),
            ("ü", "invalid_event"),
            (7, "invalid_event"),
            ([], "invalid_event"),
            ("", "invalid_json"),
            (base64.b64encode(b'{},"id":"other"').decode(), "invalid_json"),
            (base64.b64encode(b"\xff").decode(), "invalid_json"),
        ],
    )
    def test_what_is_none_is_refused(self, encoded: Any, code: str) -> None:
        assert refusal(self.event(encoded)) == (code, "/data_base64")

    def test_a_secret_in_it_is_found(self) -> None:
        data = execution_data(note="sk-" + "ant-api03-" + "Zz0_" * 20)
        encoded = base64.b64encode(json.dumps(data).encode()).decode()
        code, _ = refusal(self.event(encoded))
        assert code == "secret_in_payload"

    def event(self, encoded: Any) -> bytes:
        document = event_document(data_base64=encoded)
        del document["data"]
        return json.dumps(document).encode()


def test_a_delete_character_is_refused_however_it_is_written() -> None:
    plain = event_bytes().replace(b"event-1", b"event\x7f1")
    escaped = event_bytes().replace(b"event-1", rb"event\u007f1")
    assert refusal(plain) == refusal(escaped) == ("invalid_event", "/id")


def test_the_longest_name_is_taken() -> None:
    assert len(read_event(event_bytes(id="ü" * 256)).id) == 256


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"execution_id": None}, "/data/execution_id"),
        ({"status": None}, "/data/status"),
        ({"model": None}, "/data/model"),
        ({"execution_id": ""}, "/data/execution_id"),
        ({"status": "done"}, "/data/status"),
        ({"model": 4}, "/data/model"),
        ({"input_tokens": -1}, "/data/input_tokens"),
        ({"input_tokens": 10**12 + 1}, "/data/input_tokens"),
        ({"output_tokens": 0.5}, "/data/output_tokens"),
        ({"output_tokens": "500"}, "/data/output_tokens"),
        ({"output_tokens": True}, "/data/output_tokens"),
        ({"key_label": ""}, "/data/key_label"),
        ({"key_label": "x" * 257}, "/data/key_label"),
        ({"failure_reason": "x" * 2001}, "/data/failure_reason"),
    ],
)
def test_a_field_of_an_execution_that_is_wrong_is_named(
    changes: dict[str, Any], pointer: str
) -> None:
    assert refusal(event_bytes(execution_data(**changes))) == ("invalid_data", pointer)


@pytest.mark.parametrize("data", ["[]", "null", '"text"', "7", "true"])
def test_data_must_be_an_object(data: str) -> None:
    assert refusal(event_with_raw_data(data, type=OTHER)) == ("invalid_data", "/data")


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (f'{{"a":{10**12 + 1}}}', "/data/a"),
        (f'{{"a":-{10**12 + 1}}}', "/data/a"),
        (f'{{"a":{"9" * 300}}}', None),
        (f'{{"a":{"9" * 5000}}}', None),
        ('{"a":{"b":[0, 1e13]}}', "/data/a/b/1"),
        ('{"a":1e400}', "/data/a"),
        ('{"a":1e99999999999999999999}', "/data"),
        ('{"a":1e-99999999999999999999}', "/data"),
        ('{"a":0e99999999999999999999}', "/data"),
        ('{"a":0e1073741824}', "/data/a"),
        ('{"a":0.0000000000001}', "/data/a"),
        ('{"a":1e-13}', "/data/a"),
        (r'{"a":"\u0000"}', "/data/a"),
        (r'{"a\u0000":1}', "/data"),
        (r'{"a":1,"b":["\u0000"]}', "/data/b/0"),
        (r'{"a":{"b\u0000":"c"}}', "/data/a"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(data: str, pointer: str | None) -> None:
    code, place = refusal(event_with_raw_data(data, type=OTHER))
    assert code == "invalid_data"
    assert pointer is None or place == pointer


@pytest.mark.parametrize(
    "data",
    [
        f'{{"a":{10**12},"b":-{10**12}}}',
        '{"a":0.000000000001,"b":999999999999.999999999999}',
        '{"a":-0.0,"b":1e12}',
        r'{"a":"\\u0000","b":"\u0001"}',
        '{"a":"' + "x" * 60_000 + '"}',
        '{"":{"":[]}}',
    ],
)
def test_what_can_just_be_stored_is_taken(data: str) -> None:
    read_data(read_event(event_with_raw_data(data, type=OTHER)))


@pytest.mark.parametrize("open_and_close", ["[]", ("{" + '"a":', "}")])
def test_data_may_be_nested_sixteen_deep(open_and_close: tuple[str, str]) -> None:
    opening, closing = open_and_close

    def nested(depth: int) -> bytes:
        data = '{"a":' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}"
        return event_with_raw_data(data, type=OTHER)

    read_data(read_event(nested(15)))
    code, _ = refusal(nested(17))
    assert code == "invalid_data"


@pytest.mark.parametrize("depth", [500, *range(960, 1040, 3), 2_000, 30_000])
@pytest.mark.parametrize("within", ["", '"execution_id":"1","status":"failed","model":"m",'])
def test_deep_nesting_is_refused_and_never_overflows(depth: int, within: str) -> None:
    data = "{" + within + '"a":' + "[" * depth + "]" * depth + "}"
    changes = {} if within else {"type": OTHER}
    code, _ = refusal(event_with_raw_data(data, **changes))
    assert code in ("invalid_data", "invalid_json")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"{",
        event_bytes()[:-1],
        event_bytes() + b"}",
        b"\xef\xbb\xbf" + event_bytes(),
        event_bytes().decode().encode("utf-16"),
        event_bytes().replace(b"event-1", b"event\xff"),
        event_bytes().replace(b"event-1", b"event\x01"),
        event_bytes().replace(b"event-1", rb"event\ud800"),
        event_bytes().replace(b"run-1", rb"run\udc00"),
        b'{"a":' + b"[" * 50_000,
    ],
)
def test_what_is_no_json_is_refused_as_such(raw: bytes) -> None:
    code, _ = refusal(raw)
    assert code == "invalid_json"


def test_data_that_is_no_utf_8_is_refused() -> None:
    code, pointer = refusal(event_with_raw_data('{"a":"X"}', type=OTHER).replace(b"X", b"\xff"))
    assert (code, pointer) == ("invalid_data", "/data")


@pytest.mark.parametrize("raw", [b"[]", b"null", b"7", b'"event"', b"{}"])
def test_json_that_is_no_event_is_refused(raw: bytes) -> None:
    code, _ = refusal(raw)
    assert code == "invalid_event"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.acme.execution+json",
        'text/json;charset="UTF-8"',
    ],
)
def test_json_may_be_called_by_other_names(kind: str) -> None:
    read_event(event_bytes(datacontenttype=kind))


def test_an_attribute_that_is_null_is_one_that_is_not_there() -> None:
    text = event_bytes(datacontenttype="N", dataschema="N", data_base64="N", team="N")
    read_event(text.replace(b'"N"', b"null"))


NOT_JSON = [
    "text/plain",
    "application/xml",
    "",
    "application/json+x",
    "application/json; charset=x",
]


@pytest.mark.parametrize("kind", NOT_JSON)
def test_data_must_be_json(kind: str) -> None:
    assert refusal(event_bytes(datacontenttype=kind)) == (
        "unsupported_datacontenttype",
        "/datacontenttype",
    )


def test_an_event_has_a_largest_size() -> None:
    largest = event_bytes(execution_data(note=""))
    room = 64_000 - len(largest)
    read_event(event_bytes(execution_data(note="x" * room)))
    assert refusal(event_bytes(execution_data(note="x" * (room + 1)))) == ("too_large", None)


def test_an_event_with_a_secret_is_refused_whatever_else_is_wrong_with_it() -> None:
    secret = "sk-" + "ant-api03-" + "Zz0_" * 20
    for raw in (
        event_bytes(id=secret),
        event_bytes(execution_data(note=secret)),
        event_bytes(execution_data(note={secret: 1})),
        event_bytes(execution_data(note=secret + "x" * 64_000)),
        event_bytes(time=secret),
        secret.encode(),
    ):
        code, pointer = refusal(raw)
        assert (code, pointer) == ("secret_in_payload", None)


def test_nothing_of_a_secret_is_in_the_refusal() -> None:
    secret = "sk-" + "ant-api03-" + "Zz0_" * 20
    with pytest.raises(InvalidEventError) as caught:
        read_event(event_bytes(execution_data(status=secret)))
    assert "Zz0_" not in str(caught.value)


class TestTimeLimits:
    limits = TimeLimits(max_age_days=90, max_skew_seconds=300)

    @pytest.mark.parametrize(
        "time",
        [NOW, NOW - timedelta(days=90), NOW + timedelta(seconds=300)],
    )
    def test_a_time_within_the_limits_is_taken(self, time: datetime) -> None:
        self.limits.check(time, NOW)

    @pytest.mark.parametrize(
        ("time", "code"),
        [
            (NOW - timedelta(days=90, microseconds=1), "too_old"),
            (NOW + timedelta(seconds=300, microseconds=1), "in_the_future"),
            (datetime.fromisoformat("0001-01-01T00:00:00+23:59"), "too_old"),
            (datetime.fromisoformat("9999-12-31T23:59:59.999999-23:59"), "in_the_future"),
        ],
    )
    def test_a_time_beyond_them_is_refused(self, time: datetime, code: str) -> None:
        with pytest.raises(InvalidEventError) as caught:
            self.limits.check(time, NOW)
        assert (caught.value.code, caught.value.pointer) == (code, "/time")
