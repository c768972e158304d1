"""Both clients against a real HTTP server: nothing is lost, nothing is blocked, nothing leaks."""

import asyncio
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shared.client import (
    AsyncClient,
    BufferFullError,
    Client,
    ClientClosedError,
    InvalidEventError,
    Metrics,
    Options,
    Refusal,
    Rejection,
    new_id,
    prometheus_collector,
)
from tests.shared.client.server import Reply, problem, running_ingest, verdicts

KEY = "the-" + "key-of-this-test"
NOWHERE = "http://127.0.0.1:9"
ROOT = Path(__file__).parents[3]


def quick(**more: Any) -> Options:
    return Options(
        **{
            "source": "shop",
            "batch_seconds": 0.01,
            "first_wait": 0.01,
            "longest_wait": 0.05,
            **more,
        }
    )


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"e{number}", "type": "t", "subject": "acme", "data": {"n": number}, **more}


def events(count: int) -> list[dict[str, Any]]:
    return [event(number) for number in range(count)]


def send(url: str, options: Options, what: list[dict[str, Any]], *, use_async: bool) -> Metrics:
    """Send events with one of the clients, until all have an answer."""

    async def sent() -> Metrics:
        async with AsyncClient(url, KEY, options) as client:
            await client.record_many(what)
            assert await client.flush(20)
            return client.metrics()

    if use_async:
        return asyncio.run(sent())
    with Client(url, KEY, options) as client:
        client.record_many(what)
        assert client.flush(20)
        return client.metrics()


both = pytest.mark.parametrize("use_async", [False, True], ids=["sync", "async"])


@both
def test_all_events_arrive_once_in_order(use_async: bool) -> None:
    with running_ingest() as ingest:
        counts = send(ingest.url, quick(batch_events=30), events(100), use_async=use_async)
    assert ingest.taken == [f"e{number}" for number in range(100)]
    assert max(map(len, ingest.requests)) == 30
    assert ingest.headers[0]["authorization"] == f"Bearer {KEY}"
    assert (counts.sent, counts.accepted, counts.queued, counts.queued_bytes) == (100, 100, 0, 0)


@both
def test_what_failed_is_sent_again_under_the_same_ids(use_async: bool) -> None:
    replies: list[Reply | None] = [
        None,
        problem(503, "unavailable", retry_after="0"),
        problem(429, "too_many_requests"),
        problem(500, "internal_error"),
        problem(401, "not_authenticated"),
    ]
    failures = len(replies)
    reasons: list[str] = []

    def decide(sent: list[Any]) -> Reply | None:
        return replies.pop(0) if replies else verdicts(sent)

    with running_ingest(decide) as ingest:
        options = quick(on_problem=reasons.append)
        what = [{"type": "t", "subject": "acme", "data": {}}]
        counts = send(ingest.url, options, what, use_async=use_async)
    assert len(ingest.requests) == failures + 1
    assert all(request == ingest.requests[0] for request in ingest.requests)
    assert (counts.retries, counts.accepted) == (failures, 1)
    assert reasons[1:3] == [
        "503 unavailable: because of unavailable",
        "429 too_many_requests: because of too_many_requests",
    ]


@both
def test_one_event_that_cannot_be_taken_holds_up_no_other(use_async: bool) -> None:
    refused: list[Refusal] = []

    def decide(sent: list[Any]) -> Reply:
        if any(one["id"] == "e13" for one in sent):
            return problem(413, "too_large")
        return verdicts(sent)

    with running_ingest(decide) as ingest:
        counts = send(ingest.url, quick(on_refused=refused.append), events(50), use_async=use_async)
    assert ingest.taken == [f"e{number}" for number in range(50) if number != 13]
    (one,) = refused
    assert (one.status, one.code, json.loads(one.event)["id"]) == (413, "too_large", "e13")
    assert (counts.refused, counts.accepted, counts.queued) == (1, 49, 0)


@both
def test_verdicts_are_counted_and_rejected_events_are_told(use_async: bool) -> None:
    told: list[Rejection] = []

    def decide(sent: list[Any]) -> Reply:
        return verdicts(sent, {"e2": "too_old", "e3": "too_old", "e4": "conflict"}, ("e1",))

    with running_ingest(decide) as ingest:
        counts = send(ingest.url, quick(on_rejected=told.append), events(6), use_async=use_async)
    assert [(json.loads(one.event)["id"], one.code, one.detail, one.pointer) for one in told] == [
        ("e2", "too_old", "not good", "/data"),
        ("e3", "too_old", "not good", "/data"),
        ("e4", "conflict", "not good", "/data"),
    ]
    assert counts.rejected == {"too_old": 2, "conflict": 1}
    assert (counts.accepted, counts.duplicate, counts.sent) == (2, 1, 6)


def test_a_callback_that_fails_stops_nothing_and_its_text_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(rejection: Rejection) -> None:
        raise ValueError(rejection.event.decode())

    with running_ingest(lambda sent: verdicts(sent, {"e0": "too_old"})) as ingest:
        counts = send(ingest.url, quick(on_rejected=fail), events(3), use_async=False)
    assert counts.accepted == 2
    assert "a callback failed: ValueError" in caplog.text
    assert "acme" not in caplog.text


def test_a_full_buffer_raises_or_blocks_for_a_time() -> None:
    for options in (
        quick(max_events=3, when_full="raise"),
        quick(max_events=3, block_seconds=0.05),
    ):
        client = Client(NOWHERE, KEY, options)
        client.record_many(events(3))
        with pytest.raises(BufferFullError):
            client.record(event(4))
        assert client.close(0) == 3


async def test_a_full_buffer_raises_or_blocks_for_a_time_on_a_loop() -> None:
    for options in (
        quick(max_events=3, when_full="raise"),
        quick(max_events=3, block_seconds=0.05),
    ):
        client = AsyncClient(NOWHERE, KEY, options)
        async with client:
            await client.record_many(events(3))
            with pytest.raises(BufferFullError):
                await client.record(event(4))
            assert await client.close(0) == 3


@both
def test_a_blocked_producer_goes_on_once_there_is_room(use_async: bool) -> None:
    with running_ingest() as ingest:
        options = quick(max_events=5, batch_events=5)
        counts = send(ingest.url, options, events(200), use_async=use_async)
    assert counts.accepted == 200
    assert len(set(ingest.taken)) == len(ingest.taken) == 200


@both
def test_what_was_spilled_is_sent_by_the_next_client(use_async: bool, tmp_path: Path) -> None:
    options = quick(spill=tmp_path)

    async def record() -> int:
        async with AsyncClient(NOWHERE, KEY, options) as client:
            await client.record_many(events(10))
            assert client.metrics().spilled_bytes > 0
            return await client.close(0)

    if use_async:
        assert asyncio.run(record()) == 10
    else:
        client = Client(NOWHERE, KEY, options)
        client.record_many(events(10))
        assert client.metrics().spilled_bytes > 0
        assert client.close(0) == 10
    with running_ingest() as ingest:
        assert send(ingest.url, options, [event(10)], use_async=use_async).accepted == 11
    assert ingest.taken == [f"e{number}" for number in range(11)]


def test_many_threads_record_at_once(tmp_path: Path) -> None:
    with running_ingest() as ingest, Client(ingest.url, KEY, quick(spill=tmp_path)) as client:

        def record(first: int) -> None:
            for number in range(first, first + 50):
                client.record(event(number))

        threads = [threading.Thread(target=record, args=(start * 50,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(20)
    assert sorted(ingest.taken) == sorted(f"e{number}" for number in range(200))


def test_large_bodies_are_compressed_where_asked() -> None:
    with running_ingest() as ingest:
        send(ingest.url, quick(gzip_above=500), events(100), use_async=False)
        send(ingest.url, quick(), events(100), use_async=False)
    encodings = [headers.get("content-encoding") for headers in ingest.headers]
    assert encodings == ["gzip", None]
    assert len(ingest.taken) == 200


PROGRAM = """
import sys
from shared.client import Client, Options
client = Client(sys.argv[1], "k", Options(source="shop", batch_seconds=60))
client.execution(customer="acme", execution_id="x1", status="succeeded", model="m")
"""


def test_what_waits_is_sent_at_exit() -> None:
    with running_ingest() as ingest:
        subprocess.run([sys.executable, "-c", PROGRAM, ingest.url], check=True, cwd=ROOT)
    assert ingest.taken == ["x1"]


def test_a_child_process_is_told_to_make_a_client_of_its_own() -> None:
    with running_ingest() as ingest, Client(ingest.url, KEY, quick()) as client:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                client.record(event(1))
            except ClientClosedError as error:
                os.write(writer, str(error).encode())
            client.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert b"make another" in os.read(reader, 1000)
        os.close(reader)
        os.close(writer)
        client.record(event(2))
        assert client.flush(10)
    assert ingest.taken == ["e2"]


def test_an_execution_is_an_event_of_the_contract() -> None:
    ended = datetime(2026, 10, 1, tzinfo=UTC)
    with running_ingest() as ingest, Client(ingest.url, KEY, quick()) as client:
        given = client.execution(
            customer="acme",
            execution_id="x1",
            status="failed",
            model="m",
            input_tokens=3,
            key_label="main",
            failure_reason="no",
            time=ended,
        )
        named = client.execution(
            customer="acme", execution_id="x1", status="succeeded", model="m", id="own"
        )
        made = client.record({"type": "t", "subject": "acme", "data": {}})
        client.flush(10)
    assert (given, named) == ("x1", "own")
    assert uuid.UUID(made).version == 7
    first = next(one for request in ingest.requests for one in request)
    assert first["time"] == "2026-10-01T00:00:00+00:00"
    assert first["data"] == {
        "execution_id": "x1",
        "status": "failed",
        "model": "m",
        "input_tokens": 3,
        "output_tokens": 0,
        "key_label": "main",
        "failure_reason": "no",
    }


def test_ids_are_unique_and_rise_with_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [one[:12] for one in ids] == sorted(one[:12] for one in ids)
    assert all(str(uuid.UUID(one)) == one for one in ids)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "t", "data": {}},
        {"type": "t", "subject": "", "data": {}},
        {"type": "t", "subject": "a", "data": {"x": float("nan")}},
        {"type": "t", "subject": "a", "data": {"x": object()}},
        {"type": "t", "subject": "a", "data": {"x": "y" * 64_000}},
        {"type": "t", "subject": "a", "data": {}, "time": datetime(2026, 1, 1)},  # noqa: DTZ001
    ],
)
def test_what_could_never_be_taken_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with Client(NOWHERE, KEY, quick()) as client:
        with pytest.raises(InvalidEventError):
            client.record(wrong)
        assert client.metrics().queued == 0


def test_neither_key_nor_payload_is_shown_or_logged() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        client = Client(NOWHERE, KEY, quick())
        client.record(event(1))
        shown = repr(client) + repr(client._outbox) + repr(client.metrics())
        assert client.close(0.2) == 1
        assert repr(AsyncClient(NOWHERE, KEY, quick())).startswith("AsyncClient(")
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(logging.WARNING)
    assert "closed with 1 events not sent" in written.getvalue()
    for text in (shown, written.getvalue()):
        assert KEY not in text
        assert "acme" not in text


def test_a_closed_client_takes_nothing() -> None:
    client = Client(NOWHERE, KEY, quick())
    client.close()
    with pytest.raises(ClientClosedError):
        client.record(event(1))
    assert client.close() == 0


async def test_a_client_on_a_loop_is_to_be_entered_first() -> None:
    with pytest.raises(ClientClosedError):
        await AsyncClient(NOWHERE, KEY, quick()).record(event(1))


def test_flush_says_whether_all_was_answered() -> None:
    client = Client(NOWHERE, KEY, quick())
    client.record(event(1))
    assert not client.flush(0.05)
    assert client.metrics().last_error == "ConnectError"
    client.close(0)


def test_prometheus_reads_the_counts() -> None:
    registry = CollectorRegistry()
    with (
        running_ingest(lambda sent: verdicts(sent, {"e1": "too_old"})) as ingest,
        Client(ingest.url, KEY, quick()) as client,
    ):
        registry.register(prometheus_collector(client.metrics))
        client.record_many(events(3))
        client.flush(10)
        text = generate_latest(registry).decode()
    assert "tallybook_client_accepted_total 2.0" in text
    assert 'tallybook_client_rejected_total{code="too_old"} 1.0' in text
    assert "tallybook_client_queued 0.0" in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_events": 0},
        {"max_bytes": 10},
        {"first_wait": 0},
        {"first_wait": 2, "longest_wait": 1},
        {"when_full": "spill"},
    ],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Options(**wrong)


COPIED = """
import sys
import carried
names = {name.split(".")[0] for name in sys.modules}
assert "shared" not in names and "services" not in names, names
carried.Client("http://127.0.0.1:9", "k").close()
"""


def test_the_client_stands_by_itself(tmp_path: Path) -> None:
    """Copied elsewhere under another name it needs its own folder and httpx alone."""
    shutil.copytree(ROOT / "shared/client", tmp_path / "carried")
    subprocess.run([sys.executable, "-c", COPIED], check=True, cwd=tmp_path)
    imported = {
        line.split()[1].split(".")[0]
        for path in (ROOT / "shared/client").glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("import ", "from "))
    }
    assert imported - set(sys.stdlib_module_names) - {""} == {"httpx"}
