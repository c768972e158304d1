"""An event in binary mode is the event that it would be in structured form."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.binary_mode import BinaryEvent, http_attributes, read_binary
from shared.event_data import read_data
from shared.event_errors import InvalidEventError
from shared.events import read_event
from tests.shared.factories import event_document, execution_data

DATA = json.dumps(execution_data()).encode()
SECRET = "sk-" + "ant-api03-" + "Ab3_-" * 18
ATTRIBUTES = {
    name: value.encode() for name, value in event_document().items() if isinstance(value, str)
}


def binary(
    content_type: str | None = "application/json", data: bytes | None = DATA, **changes: bytes
) -> BinaryEvent:
    return binary_with(changes, content_type, data)


def binary_with(
    changes: dict[str, bytes],
    content_type: str | None = "application/json",
    data: bytes | None = DATA,
) -> BinaryEvent:
    return read_binary(list({**ATTRIBUTES, **changes}.items()), content_type, data)


def refusal(event: BinaryEvent) -> tuple[str, str | None]:
    with pytest.raises(InvalidEventError) as caught:
        read_event(event.text())
    return caught.value.code, caught.value.pointer


def decoded(value: bytes) -> bytes:
    """Give the value of one attribute as an HTTP header has it."""
    ((name, plain),) = http_attributes([(b"host", b"x"), (b"ce-subject", value)])
    assert name == "subject"
    return plain


@pytest.mark.parametrize("content_type", ["application/json", None])
def test_attributes_and_data_become_one_document(content_type: str | None) -> None:
    event = binary(content_type, team=b"blue", subject="Zoë".encode())
    assert json.loads(event.text()) == {**event_document(), "team": "blue", "subject": "Zoë"}
    assert read_data(read_event(event.text())) == execution_data()


def test_a_content_type_that_says_more_is_kept() -> None:
    event = binary("application/json; charset=utf-8")
    assert json.loads(event.text())["datacontenttype"] == "application/json; charset=utf-8"
    read_event(event.text())


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"plain", b"plain"),
        (b"a%20b%22%25", b'a b"%'),
        (b"Zo%C3%AB", "Zoë".encode()),
        (b"Zo%c3%ab", "Zoë".encode()),
        ("Zoë".encode(), "Zoë".encode()),
        (b"%2541", b"%41"),
        (b'"quoted"', b"quoted"),
        (rb'"a \"b\" \\ %20"', rb'a "b" \  '),
        (b'half "quoted"', b'half "quoted"'),
        (b"100%", b"100%"),
        (b"%zz%4", b"%zz%4"),
        (b"", b""),
    ],
)
def test_a_header_is_unquoted_then_decoded_once(value: bytes, plain: bytes) -> None:
    assert decoded(value) == plain


@given(st.text())
def test_any_text_comes_back_from_its_percent_encoding(text: str) -> None:
    encoded = b"".join(b"%%%02X" % byte for byte in text.encode())
    assert decoded(encoded) == text.encode()


@pytest.mark.parametrize(
    ("event", "code", "pointer"),
    [
        (binary(data=b"{"), "invalid_json", "/data"),
        (binary(data=b'{},"subject":"other"'), "invalid_json", "/data"),
        (binary(data=b'{}}'), "invalid_json", "/data"),
        (binary(data=b"\xff"), "invalid_json", "/data"),
        (binary(data=b"[" * 5_000), "invalid_json", "/data"),
        (binary(data=b""), "invalid_event", "/data"),
        (binary(data=None), "invalid_event", "/data"),
        (binary("text/plain"), "unsupported_datacontenttype", "/datacontenttype"),
        (binary("text/json; charset=utf-16"), "unsupported_datacontenttype", "/datacontenttype"),
        (binary(id=b"\xff"), "invalid_event", "/id"),
        (binary(id=b""), "invalid_event", "/id"),
        (binary(data_base64=b"e30="), "invalid_event", "/data_base64"),
        (binary(datacontenttype=b"application/json"), "invalid_event", "/datacontenttype"),
        (binary_with({"a/b": b"\xff"}), "invalid_event", "/a~1b"),
        (binary(team=b"x" * 1_025), "invalid_event", "/team"),
        (binary(Team=b"x"), "invalid_event", "/Team"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(event: BinaryEvent, code: str, pointer: str) -> None:
    assert refusal(event) == (code, pointer)


def test_data_that_is_given_as_an_attribute_is_refused() -> None:
    event = read_binary([*ATTRIBUTES.items(), ("data", b"{}")], None, DATA)
    assert refusal(event) == ("invalid_event", "/data")


def test_an_attribute_that_stands_twice_is_refused() -> None:
    event = read_binary([*ATTRIBUTES.items(), ("id", b"other")], None, DATA)
    assert refusal(event) == ("invalid_event", "/id")
    assert (event.id, event.source) == ("event-1", "agents")


@pytest.mark.parametrize("name", ["id", "subject", "team"])
def test_a_secret_in_an_attribute_is_never_echoed(name: str) -> None:
    """I11."""
    for event in (
        binary_with({name: SECRET.encode()}),
        binary_with({name: SECRET.replace("s", r"\u0073").encode()}),
        binary_with({name: SECRET.encode()}, data=b"{"),
        binary_with({SECRET: b"x"}),
        binary(data=SECRET.encode()),
    ):
        assert refusal(event) == ("secret_in_payload", None)
        assert (event.id, event.source, event.structured) == (None, None, None)
