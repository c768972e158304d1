"""Every event of a request has a verdict of its own, in order; none sinks the others."""

import itertools
import json
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.verdicts import Decision, decide
from shared.events import TimeLimits, glance_through
from shared.executions import EXECUTION_FINISHED
from shared.keys import SEND_EVENTS, Key
from tests.shared.factories import NOW, event_bytes, execution_data

LIMITS = TimeLimits(max_age_days=90, max_skew_seconds=300)
ANY = Key("key_any", frozenset({SEND_EVENTS}))
SECRET = "sk-" + "ant-api03-" + "Ab3_-" * 18
GOOD = event_bytes(id="good")


def decided(*raws: bytes, key: Key = ANY) -> Decision:
    return decide(raws, key, LIMITS, NOW)


def verdicts(decision: Decision) -> list[tuple[str, str | None]]:
    return [(result.verdict, result.code) for result in decision.results]


def version(name: str, tokens: int) -> bytes:
    return event_bytes(execution_data(input_tokens=tokens), id=name)


def test_a_good_event_is_accepted_and_written_as_it_came() -> None:
    raw = b"  " + event_bytes(execution_data(steps=[1.50, "ü"]), traceparent="x") + b"\n"
    decision = decided(raw)
    assert decision.records == [("customer-1", raw)]
    (result,) = decision.results
    assert (result.id, result.source, result.verdict) == ("event-1", "agents", "accepted")
    assert (result.code, result.detail, result.pointer) == (None, None, None)


def test_the_first_of_two_that_differ_by_their_trace_is_written() -> None:
    first, second = event_bytes(traceparent=f"00-{1:032x}-{1:016x}-01"), event_bytes()
    decision = decided(first, second)
    assert [result.verdict for result in decision.results] == ["accepted", "duplicate"]
    assert decision.records == [("customer-1", first)]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "bad", "old"]), st.integers(1, 2)), max_size=10
)


@given(EVENTS)
def test_verdicts_keep_the_order_of_the_request(events: list[tuple[str, int]]) -> None:
    """The rule: the first of a name counts; others are equal to it, or are in conflict."""
    first: dict[str, int] = {}
    raws: list[bytes] = []
    expected: list[tuple[str, str | None]] = []
    for name, tokens in events:
        if name == "bad":
            raws.append(b"{")
            expected.append(("rejected", "invalid_json"))
        elif name == "old":
            raws.append(event_bytes(id=name, time="2020-01-01T00:00:00Z"))
            expected.append(("rejected", "too_old"))
        else:
            raws.append(version(name, tokens))
            if name not in first:
                first[name] = tokens
                expected.append(("accepted", None))
            elif first[name] == tokens:
                expected.append(("duplicate", None))
            else:
                expected.append(("rejected", "conflict"))

    decision = decided(*raws)

    assert verdicts(decision) == expected
    assert decision.records == [("customer-1", version(name, first[name])) for name in first]
    answer = decision.answer()
    assert (answer.accepted, answer.duplicate, answer.rejected) == tuple(
        sum(verdict == wanted for verdict, _ in expected)
        for wanted in ("accepted", "duplicate", "rejected")
    )
    assert answer.results == decision.results


LIMITED = Key(
    "key_limited",
    frozenset({SEND_EVENTS}),
    sources=frozenset({"agents"}),
    customers=frozenset({"customer-1"}),
    event_types=frozenset({EXECUTION_FINISHED}),
)
IN_A_BATCH = st.fixed_dictionaries(
    {"id": st.sampled_from("abcdefgh")},
    optional={
        "source": st.just("others"),
        "subject": st.just("customer-2"),
        "time": st.sampled_from(["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]),
        "data": st.builds(execution_data, note=st.just("x" * 70_000))
        | st.builds(execution_data, failure_reason=st.text(max_size=3)),
        "type": st.just("com.example.other"),
    },
)


def as_a_batch(raws: Sequence[bytes], key: Key) -> Decision:
    body = b"[" + b",".join(raws) + b"]"
    events = msgspec.json.decode(body, type=list[msgspec.Raw])
    return decide(events, key, LIMITS, NOW, glance_through(body), body)


@given(st.lists(IN_A_BATCH, max_size=4), st.sampled_from([ANY, LIMITED]))
def test_a_batch_is_decided_as_each_of_its_events_is(
    documents: list[dict[str, str]], key: Key
) -> None:
    raws = [event_bytes(**document) for document in documents]
    assert as_a_batch(raws, key) == decided(*raws, key=key)


@pytest.mark.parametrize("key", [ANY, LIMITED])
def test_a_batch_with_nothing_unusual_in_it_is_accepted_at_once(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at(*_: object) -> None:
        raise AssertionError("an event was looked at by itself")

    monkeypatch.setattr("services.ingest.verdicts.read_event", looked_at)
    raws = [event_bytes(id=f"event-{n}") for n in range(500)]
    assert as_a_batch(raws, key).records == [("customer-1", raw) for raw in raws]


def test_the_answer_has_the_documented_shape() -> None:
    decision = decided(GOOD, GOOD, event_bytes(execution_data(status="done"), id="odd"))
    answer = json.loads(msgspec.json.encode(decision.answer()))
    assert list(answer) == ["accepted", "duplicate", "rejected", "results"]
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (1, 1, 1)
    shape = ["id", "source", "verdict", "code", "detail", "pointer"]
    assert all(list(result) == shape for result in answer["results"])
    rejected = answer["results"][2]
    assert (rejected["id"], rejected["verdict"]) == ("odd", "rejected")
    assert (rejected["code"], rejected["pointer"]) == ("invalid_data", "/data/status")


BAD = {
    "no json": b"not json",
    "nothing": b"",
    "not utf-8": b"\xff\xfe",
    "no object": b"[1]",
    "deep": b'{"a":' + b"[" * 5_000,
    "no id": event_bytes(id=None),
    "id is a number": event_bytes(id=7),
    "odd data": event_bytes({"a": 10**40}, type="com.example.other"),
    "huge exponent": event_bytes("X", type="com.example.other").replace(
        b'"X"', b'{"a":1e99999999999999999999}'
    ),
    "too large": event_bytes(execution_data(note="x" * 70_000)),
    "too old": event_bytes(time="2020-01-01T00:00:00Z"),
    "in the future": event_bytes(time=(NOW + timedelta(hours=1)).isoformat()),
    "a secret": event_bytes(execution_data(note=SECRET)),
    "xml": event_bytes(datacontenttype="application/xml"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_a_bad_event_never_sinks_the_others(bad: bytes) -> None:
    before, after = event_bytes(id="before"), event_bytes(id="after")
    decision = decided(before, bad, after)
    assert [verdict for verdict, _ in verdicts(decision)] == ["accepted", "rejected", "accepted"]
    assert [raw for _, raw in decision.records] == [before, after]
    rejected = decision.results[1]
    assert rejected.code
    assert rejected.detail
    msgspec.json.encode(decision.answer())


@pytest.mark.parametrize("order", list(itertools.permutations([b"{", GOOD, event_bytes(id="")])))
def test_where_the_bad_ones_stand_makes_no_difference(order: Sequence[bytes]) -> None:
    decision = decided(*order)
    assert [raw for _, raw in decision.records] == [GOOD]
    assert decision.results[order.index(GOOD)].verdict == "accepted"


def test_an_event_that_was_rejected_stands_in_nobodys_way() -> None:
    old = event_bytes(id="a", time="2020-01-01T00:00:00Z")
    assert verdicts(decided(old, event_bytes(id="a"))) == [
        ("rejected", "too_old"),
        ("accepted", None),
    ]


def test_the_same_content_written_otherwise_is_a_duplicate() -> None:
    other = json.dumps(dict(reversed(json.loads(GOOD).items())), indent=2).encode()
    assert verdicts(decided(GOOD, other)) == [("accepted", None), ("duplicate", None)]


def test_the_same_id_from_two_sources_is_two_events() -> None:
    decision = decided(event_bytes(source="one"), event_bytes(source="two"))
    assert len(decision.records) == 2


class TestKeys:
    key = Key(
        "key_1",
        frozenset({SEND_EVENTS}),
        sources=frozenset({"agents", "robots"}),
        customers=frozenset({"ann", "bob"}),
        event_types=frozenset({EXECUTION_FINISHED, "com.example.other"}),
    )

    @pytest.mark.parametrize(
        ("source", "customer", "code", "pointer"),
        [
            ("agents", "ann", None, None),
            ("robots", "bob", None, None),
            ("others", "ann", "source_not_allowed", "/source"),
            ("agents", "cid", "customer_not_allowed", "/subject"),
            ("agents", "Ann", "customer_not_allowed", "/subject"),
            ("others", "cid", "source_not_allowed", "/source"),
        ],
    )
    def test_a_key_may_be_for_some_sources_and_customers(
        self, source: str, customer: str, code: str | None, pointer: str | None
    ) -> None:
        decision = decided(event_bytes(source=source, subject=customer), key=self.key)
        (result,) = decision.results
        assert (result.code, result.pointer) == (code, pointer)
        assert len(decision.records) == (code is None)

    def test_a_key_may_be_for_some_event_types(self) -> None:
        raws = [
            event_bytes(id="1", subject="ann"),
            event_bytes({"a": 1}, id="2", subject="ann", type="com.example.other"),
            event_bytes({"a": 1}, id="3", subject="ann", type="com.example.OTHER"),
        ]
        decision = decided(*raws, key=self.key)
        assert [(one.code, one.pointer) for one in decision.results] == [
            (None, None),
            (None, None),
            ("type_not_allowed", "/type"),
        ]

    def test_a_key_without_limits_is_for_all(self) -> None:
        raws = [event_bytes(id=str(n), source=f"s{n}", subject=f"c{n}") for n in range(3)]
        assert len(decided(*raws).records) == 3

    def test_what_a_key_may_not_send_sinks_nothing(self) -> None:
        decision = decided(
            event_bytes(id="1", subject="ann"),
            event_bytes(id="1", subject="cid"),
            event_bytes(id="2", subject="bob"),
            key=self.key,
        )
        assert [customer for customer, _ in decision.records] == ["ann", "bob"]


ESCAPED = SECRET.replace("s", r"\u0073").encode()


@pytest.mark.parametrize(
    "raw",
    [
        event_bytes(id=SECRET),
        event_bytes(source=SECRET),
        event_bytes(subject=SECRET),
        event_bytes(execution_data(key_label=SECRET)),
        event_bytes(execution_data(status=SECRET)),
        event_bytes(execution_data(note={SECRET: 1})),
        event_bytes(**{SECRET: "x"}),
        event_bytes(id="X").replace(b"X", ESCAPED),
        event_bytes(id="X", source=r"\ud800").replace(b"X", ESCAPED).replace(b"\\\\", b"\\"),
        event_bytes(execution_data(note="x" * 70_000), id=SECRET),
        event_bytes(execution_data(note="x" * 70_000), id="X").replace(b"X", ESCAPED),
        event_bytes(id=SECRET)[:-1],
        event_bytes(id=SECRET, time="2020-01-01T00:00:00Z"),
    ],
)
def test_a_secret_is_never_echoed_and_never_written(raw: bytes) -> None:
    """I11."""
    decision = decided(GOOD, raw)
    assert [raw for _, raw in decision.records] == [GOOD]
    assert "Ab3_" not in msgspec.json.encode(decision.answer()).decode()
    assert decision.results[1].code == "secret_in_payload"


def test_a_rejected_event_is_named_as_far_as_it_can_be_read() -> None:
    decision = decided(
        event_bytes(id="x" * 1000, source="agents"),
        event_bytes(id=7),
        b"{",
    )
    assert [(result.id, result.source) for result in decision.results] == [
        ("x" * 256, "agents"),
        (None, "agents"),
        (None, None),
    ]


@given(st.lists(st.binary(max_size=40) | st.just(GOOD), max_size=5))
def test_any_bytes_have_a_verdict(raws: list[bytes]) -> None:
    decision = decided(*raws)
    assert len(decision.results) == len(raws)
    assert len(decision.records) == (GOOD in raws)
    msgspec.json.encode(decision.answer())
