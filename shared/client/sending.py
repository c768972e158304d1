"""The client with a thread of its own. I/O: HTTP, and the disk where events are spilled."""

import atexit
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

import httpx

from .buffer import BufferFullError
from .events import encode_event, execution_event
from .metrics import Metrics
from .options import ClientClosedError, Options
from .outbox import SPLIT, Outbox, log


class Client:
    """Hands events to ingest from a thread in the background.

    Safe to use from several threads, but not across a fork: make one in each process. Use it
    as a context manager, or close it; what is left at exit is sent then.
    """

    def __init__(self, url: str, key: str, options: Options | None = None) -> None:
        self._options = options or Options()
        self._url = url.rstrip("/") + "/v1/events"
        self._outbox = Outbox(key, self._options)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._closed = False
        self._process = os.getpid()
        self._http = httpx.Client(
            verify=self._options.ssl_context or True, timeout=self._options.request_seconds
        )
        self._thread = threading.Thread(target=self._run, name="tallybook-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"Client({self._url!r}, key=hidden, waiting={self._outbox.waiting})"

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, event: Mapping[str, Any]) -> str:
        """Take an event in; gives its id. What it leaves out (id, source, time) is filled in.

        With spilling it is on disk when this returns. Raises `InvalidEventError` for an event
        that could never be taken, `BufferFullError` where there is no room (in time),
        `ClientClosedError`, and `OSError` where the disk fails.
        """
        return self.record_many([event])[0]

    def record_many(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Take events in, with one write to disk for many; gives their ids.

        Where it raises, the first ones may have been taken: with ids of your own they can be
        recorded again without harm.
        """
        options = self._options
        encoded = [
            encode_event(event, options.source, trace_context=options.trace_context)
            for event in events
        ]
        for piece in self._outbox.pieces([text for _, text in encoded]):
            self._offer(piece)
        self._outbox.buffer.commit()
        return [name for name, _ in encoded]

    def execution(
        self,
        *,
        customer: str,
        execution_id: str,
        status: str,
        model: str,
        input_tokens: int = 0,
        output_tokens: int = 0,
        key_label: str | None = None,
        failure_reason: str | None = None,
        time: datetime | None = None,
        id: str | None = None,  # noqa: A002  # CloudEvents' own word
    ) -> str:
        """Take in an execution that ended; its id is the execution's unless one is given."""
        return self.record(
            execution_event(
                customer=customer,
                execution_id=execution_id,
                status=status,
                model=model,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                key_label=key_label,
                failure_reason=failure_reason,
                time=time,
                id=id,
            )
        )

    def metrics(self) -> Metrics:
        """Take a snapshot of the counts."""
        return self._outbox.metrics()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was recorded so far has an answer; tells whether it has."""
        self._check_process()
        with self._changed:
            target = self._outbox.flush()
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._outbox.buffer.left >= target or self._stop.is_set(), timeout
            ) and (self._outbox.buffer.left >= target)

    def close(self, timeout: float | None = None) -> int:
        """Take no more events, send what waits (for `close_seconds` at most), and stop.

        Gives how many events are left without an answer: with spilling they wait on disk for
        the next client on the directory, without they are gone.
        """
        if self._process != os.getpid() or self._closed:
            return 0
        self._closed = True
        atexit.unregister(self.close)
        self.flush(self._options.close_seconds if timeout is None else timeout)
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        self._thread.join(1.0)
        left = self._outbox.waiting
        with self._changed:
            self._outbox.buffer.close()
        self._http.close()
        if left:
            log.warning("closed with %d events not sent", left)
        return left

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise ClientClosedError("the client belongs to the process that forked; make another")

    def _offer(self, events: Sequence[bytes]) -> None:
        self._check_process()
        options = self._options
        until = None if options.block_seconds is None else time.monotonic() + options.block_seconds
        with self._changed:
            while True:
                if self._closed:
                    raise ClientClosedError("the client is closed")
                if self._outbox.buffer.offer(events):
                    break
                rest = None if until is None else until - time.monotonic()
                if options.when_full == "raise" or (rest is not None and rest <= 0):
                    raise BufferFullError(f"{self._outbox.waiting} events wait for ingest")
                self._changed.wait(rest)
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._changed:
                due = self._outbox.due()
                if due is None or due > 0:
                    self._changed.wait(due)
                    continue
            try:
                self._deliver(self._outbox.take())
            except Exception as error:
                # Whatever it is (a disk that fails), what has no answer is still in the buffer.
                self._stop.wait(self._outbox.failed(type(error).__name__))

    def _deliver(self, events: list[bytes]) -> None:
        """Send the events until all have an answer, or the client stops."""
        size = len(events)
        while events and not self._stop.is_set():
            part = events[:size]
            wait = self._send(part)
            if wait is None:
                events = events[len(part) :]
                with self._changed:
                    self._changed.notify_all()
            elif wait == SPLIT:
                size = len(part) // 2
            else:
                self._stop.wait(wait)

    def _send(self, events: list[bytes]) -> float | None:
        headers, body = self._outbox.request(events)
        try:
            answer = self._http.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return self._outbox.failed(type(error).__name__)
        except RuntimeError:
            if self._stop.is_set():  # closed while it was sending
                return 1.0
            raise
        return self._outbox.answered(answer.status_code, answer.headers, answer.content, events)
