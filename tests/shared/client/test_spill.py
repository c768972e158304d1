"""What was put on disk is there for the next client, wherever the last one ended."""

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.client.buffer import SpillInUseError
from shared.client.spill import SpillBuffer

SMALL = 512
ROOM = 1 << 20


@contextmanager
def spilling(directory: Path, max_bytes: int = ROOM, segment: int = SMALL) -> Iterator[SpillBuffer]:
    buffer = SpillBuffer(directory, 100_000, max_bytes)
    buffer._segment_bytes = segment  # so that few events fill it
    try:
        yield buffer
    finally:
        buffer.close()


@contextmanager
def fresh() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "spill"


def event(number: int, size: int = 0) -> bytes:
    return b'{"id":"%d"%s}' % (number, b" " * size)


def drain(buffer: SpillBuffer, most: int = 7) -> list[bytes]:
    events: list[bytes] = []
    while taken := buffer.take(most, ROOM):
        events += taken
        buffer.forget(len(taken))
    return events


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 12), st.integers(0, 200)),
        st.tuples(st.just("send"), st.integers(1, 12), st.integers(0, 12)),
        st.tuples(st.just("crash"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_wherever_it_crashes_every_event_is_sent_in_order(
    steps: list[tuple[str, int, int]],
) -> None:
    """A crash loses what is in memory: a copy of the directory is all that the next one has."""
    with fresh() as directory:
        put: list[bytes] = []
        answered = generation = 0
        buffer = SpillBuffer(directory, 100_000, ROOM)
        buffer._segment_bytes = SMALL
        for kind, count, more in steps:
            if kind == "put":
                events = [event(len(put) + number, more) for number in range(count)]
                assert buffer.offer(events)
                buffer.commit()
                put += events
            elif kind == "send":
                taken = buffer.take(count, ROOM)
                assert taken == put[answered : answered + len(taken)]
                assert taken or answered == len(put)
                done = min(more, len(taken))
                buffer.forget(done)
                answered += done
            else:
                generation += 1
                left_behind = directory.with_name(f"copy-{generation}")
                shutil.copytree(directory, left_behind)
                buffer.close()
                directory = left_behind
                buffer = SpillBuffer(directory, 100_000, ROOM)
                buffer._segment_bytes = SMALL
            waiting = put[answered:]
            assert buffer.entered - buffer.left == len(waiting)
            assert buffer.waiting_bytes == sum(map(len, waiting))
        assert drain(buffer) == put[answered:]
        assert buffer.damaged == 0
        buffer.close()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 2000), st.binary(max_size=40))
def test_any_cut_of_the_end_costs_only_what_was_cut(
    count: int, answered: int, cut: int, rubbish: bytes
) -> None:
    with fresh() as directory:
        events = [event(number, 20) for number in range(count)]
        answered = min(answered, count)
        with spilling(directory, segment=ROOM) as buffer:
            buffer.offer(events)
            buffer.commit()
            taken = buffer.take(ROOM, ROOM)
            buffer.forget(len(taken[:answered]))
        files = sorted(directory.glob("*.events"))
        whole = files[0].read_bytes()
        kept = whole[: max(0, len(whole) - cut)]
        files[0].write_bytes(kept + rubbish.replace(b"\n", b""))
        # Later events are safe, whatever the torn end looks like.
        with spilling(directory) as buffer:
            later = [event(1000 + number) for number in range(3)]
            assert buffer.offer(later)
            buffer.commit()
        with spilling(directory) as buffer:
            found = drain(buffer)
        still_whole = kept.count(b"\n")
        assert found == events[answered:still_whole] + later
        assert buffer.damaged <= 1


def test_a_lost_or_older_cursor_only_sends_again(tmp_path: Path) -> None:
    events = [event(number, 50) for number in range(40)]
    with spilling(tmp_path) as buffer:
        for one in events:
            buffer.offer([one])
        buffer.commit()
        buffer.forget(len(buffer.take(3, ROOM)))
    for text in ("", "no cursor", None):
        if text is None:
            (tmp_path / "cursor").unlink()
        else:
            (tmp_path / "cursor").write_text(text)
        with spilling(tmp_path) as buffer:
            assert buffer.take(100, ROOM)[:2] == events[:2]
            assert buffer.entered == 40
    with spilling(tmp_path) as buffer:
        assert drain(buffer) == events


def test_a_damaged_line_is_passed_over_and_counted(tmp_path: Path) -> None:
    with spilling(tmp_path) as buffer:
        buffer.offer([event(number) for number in range(5)])
        buffer.commit()
    (file,) = tmp_path.glob("*.events")
    file.write_bytes(file.read_bytes().replace(b'"2"', b'"X"'))
    with spilling(tmp_path) as buffer:
        assert drain(buffer) == [event(0), event(1), event(3), event(4)]
        assert buffer.damaged == 1
        assert buffer.entered == buffer.left


def test_the_directory_is_bounded_and_has_room_again(tmp_path: Path) -> None:
    with spilling(tmp_path, max_bytes=4096) as buffer:
        for _ in range(5):
            number = 0
            while buffer.offer([event(number, 100)]):
                number += 1
            assert number > 20
            assert sum(file.stat().st_size for file in tmp_path.glob("*.events")) <= 4096
            assert len(drain(buffer)) == number
            assert buffer.waiting_bytes == 0


def test_one_client_at_a_time_uses_a_directory(tmp_path: Path) -> None:
    with spilling(tmp_path), pytest.raises(SpillInUseError):
        SpillBuffer(tmp_path, 10, ROOM)
    with spilling(tmp_path):
        pass


def test_a_write_that_fails_half_way_spoils_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with spilling(tmp_path) as buffer:
        buffer.offer([event(1)])

        def half(file: int, text: memoryview) -> int:
            if len(text) > 5:
                return real(file, text[:5])
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="full"):
            buffer.offer([event(2)])
        monkeypatch.undo()
        buffer.offer([event(3)])
        buffer.commit()
        assert buffer.take(10, ROOM) == [event(1)]
    with spilling(tmp_path) as buffer:
        assert drain(buffer) == [event(1), event(3)]


def test_a_sync_that_fails_is_told_to_all_that_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spilling(tmp_path) as buffer:
        buffer.offer([event(1)])
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("broken")))
        for _ in range(2):
            with pytest.raises(OSError, match="did not keep"):
                buffer.commit()
        monkeypatch.undo()
        buffer.offer([event(2)])
        buffer.commit()
        assert drain(buffer) == [event(1), event(2)]


def test_many_threads_put_and_one_takes(tmp_path: Path) -> None:
    with spilling(tmp_path, segment=4096) as buffer:

        def put(first: int) -> None:
            for number in range(100):
                assert buffer.offer([event(first + number)])
                buffer.commit()

        threads = [threading.Thread(target=put, args=(start * 100,)) for start in range(4)]
        for thread in threads:
            thread.start()
        found: list[bytes] = []
        while any(thread.is_alive() for thread in threads):
            found += drain(buffer, 10)
        for thread in threads:
            thread.join()
        found += drain(buffer)
        assert sorted(found) == sorted(event(number) for number in range(400))
