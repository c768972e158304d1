"""Trace contexts: what is one, where it is looked for, and that nothing else does any harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.trace_context import (
    TraceContext,
    context_of_event,
    context_of_request,
    contexts_of_record,
    read_context,
)
from tests.shared.factories import event_bytes, execution_data

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "sk-" + "ant-api03-" + "Ab3_-" * 18
PARENT = f"00-{TRACE}-{SPAN}-01"
CONTEXT = TraceContext(int(TRACE, 16), int(SPAN, 16), sampled=True)
OTHER = f"00-{'1' * 32}-{'2' * 16}-01"
OTHER_CONTEXT = TraceContext(int("1" * 32, 16), int("2" * 16, 16), sampled=True)


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [
        (PARENT, True),
        (f" {PARENT}\t", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_what_names_a_span_is_read(parent: str, sampled: bool) -> None:
    assert read_context(parent) == CONTEXT._replace(sampled=sampled)


@pytest.mark.parametrize(
    "parent",
    [
        None,
        7,
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{'١' * 32}-{SPAN}-01",
    ],
)
def test_what_names_none_is_passed_over(parent: object) -> None:
    assert read_context(parent) is None


def test_a_state_goes_with_it_unless_it_is_too_long_or_holds_a_secret() -> None:
    assert read_context(PARENT, "a=1,b=2") == CONTEXT._replace(state="a=1,b=2")
    for state in ("a=" + "x" * 511, "a=" + SECRET, 7, None):
        assert read_context(PARENT, state) == CONTEXT


def test_the_headers_of_a_context_are_read_as_the_same() -> None:
    for context in (CONTEXT, CONTEXT._replace(sampled=False), CONTEXT._replace(state="a=1")):
        headers = [("content-type", b"x"), *context.headers()]
        assert contexts_of_record(None, headers) == {context}


def test_a_request_has_the_context_of_its_one_header() -> None:
    parent = (b"traceparent", PARENT.encode())
    states = [(b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    assert context_of_request([parent, *states]) == CONTEXT._replace(state="a=1,b=2")
    assert context_of_request([parent, parent]) is None
    assert context_of_request([(b"traceparent", b"\xff")]) is None
    assert context_of_request(states) is None


def test_an_event_has_the_context_of_its_extension_and_of_nothing_in_its_data() -> None:
    assert context_of_event(event_bytes(traceparent=PARENT, tracestate="a=1")) == (
        CONTEXT._replace(state="a=1")
    )
    inside = execution_data(traceparent=PARENT)
    assert context_of_event(event_bytes(inside)) is None
    for other in (7, None, [PARENT], {"traceparent": PARENT}):
        assert context_of_event(event_bytes(traceparent=other)) is None
    assert context_of_event(event_bytes(tracestate="a=1")) is None


def test_a_record_has_the_contexts_of_its_event_and_of_its_sender() -> None:
    structured = event_bytes(traceparent=PARENT)
    sender = ("traceparent", OTHER.encode())
    content = ("content-type", b"application/cloudevents+json")
    assert contexts_of_record(structured, []) == {CONTEXT}
    assert contexts_of_record(structured, [content, sender]) == {CONTEXT, OTHER_CONTEXT}
    binary = [("ce_id", b"1"), ("ce_traceparent", PARENT.encode())]
    assert contexts_of_record(b"{}", binary) == {CONTEXT}
    assert contexts_of_record(b"{}", [*binary, sender]) == {CONTEXT, OTHER_CONTEXT}
    assert contexts_of_record(b"{}", [content, ("traceparent", None)]) == set()
    assert contexts_of_record(None, []) == set()


texts = st.one_of(st.binary(), st.just(b'"traceparent"'), st.just(event_bytes(traceparent=PARENT)))
headers = st.lists(
    st.tuples(
        st.sampled_from(["traceparent", "tracestate", "ce_traceparent", "ce_tracestate", "x"]),
        st.none() | st.binary() | st.just(PARENT.encode()),
    )
)


@given(st.none() | st.lists(texts).map(b"".join), headers)
def test_no_bytes_whatever_are_an_error(
    value: bytes | None, given_headers: list[tuple[str, bytes | None]]
) -> None:
    for context in contexts_of_record(value, given_headers):
        assert context.trace_id
        assert context.span_id
