"""The client on an event loop. I/O: HTTP, and the disk where events are spilled."""

import asyncio
import os
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


class AsyncClient:
    """Hands events to ingest from a task in the background; an async context manager.

    It belongs to the event loop in which it is entered, and to one process.
    """

    def __init__(self, url: str, key: str, options: Options | None = None) -> None:
        self._options = options or Options()
        self._url = url.rstrip("/") + "/v1/events"
        self._outbox = Outbox(key, self._options)
        self._changed = asyncio.Condition()
        self._closed = False
        self._process = os.getpid()
        self._http = httpx.AsyncClient(
            verify=self._options.ssl_context or True, timeout=self._options.request_seconds
        )
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"AsyncClient({self._url!r}, key=hidden, waiting={self._outbox.waiting})"

    async def __aenter__(self) -> "AsyncClient":
        self._task = asyncio.create_task(self._run(), name="tallybook-client")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def record(self, event: Mapping[str, Any]) -> str:
        """Take an event in; gives its id. What it leaves out (id, source, time) is filled in.

        With spilling it is on disk when this returns. Raises as `Client.record` does.
        """
        return (await self.record_many([event]))[0]

    async def record_many(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Take events in, with one write to disk for many; gives their ids."""
        options = self._options
        encoded = [
            encode_event(event, options.source, trace_context=options.trace_context)
            for event in events
        ]
        for piece in self._outbox.pieces([text for _, text in encoded]):
            await self._offer(piece)
        if self._options.spill is not None:
            await asyncio.to_thread(self._outbox.buffer.commit)
        return [name for name, _ in encoded]

    async def execution(
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
        return await self.record(
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

    async def flush(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109  # as in Client
        """Wait until all that was recorded so far has an answer; tells whether it has."""
        target = self._outbox.flush()
        try:
            async with asyncio.timeout(timeout), self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self._outbox.buffer.left >= target)
        except TimeoutError:
            return False
        return True

    async def close(self, timeout: float | None = None) -> int:  # noqa: ASYNC109  # as in Client
        """Take no more events, send what waits (for `close_seconds` at most), and stop.

        Gives how many events are left without an answer: with spilling they wait on disk for
        the next client on the directory, without they are gone.
        """
        if self._closed:
            return 0
        self._closed = True
        try:
            if self._task is not None:
                await self.flush(self._options.close_seconds if timeout is None else timeout)
        finally:
            await self._stop()
        left = self._outbox.waiting
        if left:
            log.warning("closed with %d events not sent", left)
        return left

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._outbox.buffer.close()
        async with self._changed:
            self._changed.notify_all()
        await self._http.aclose()

    async def _offer(self, events: Sequence[bytes]) -> None:
        if self._process != os.getpid():
            raise ClientClosedError("the client belongs to the process that forked; make another")
        if self._task is None:
            raise ClientClosedError("enter the client first: async with AsyncClient(...) as client")
        try:
            async with asyncio.timeout(self._options.block_seconds), self._changed:
                while True:
                    if self._closed:
                        raise ClientClosedError("the client is closed")
                    if self._outbox.buffer.offer(events):
                        break
                    if self._options.when_full == "raise":
                        raise BufferFullError(f"{self._outbox.waiting} events wait for ingest")
                    await self._changed.wait()
                self._changed.notify_all()
        except TimeoutError:
            raise BufferFullError(f"{self._outbox.waiting} events wait for ingest") from None

    async def _run(self) -> None:
        while True:
            try:
                await self._wait_until_due()
                await self._deliver(self._outbox.take())
            except Exception as error:
                # Whatever it is (a disk that fails), what has no answer is still in the buffer.
                await asyncio.sleep(self._outbox.failed(type(error).__name__))

    async def _wait_until_due(self) -> None:
        async with self._changed:
            while (due := self._outbox.due()) is None or due > 0:
                try:
                    async with asyncio.timeout(due):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def _deliver(self, events: list[bytes]) -> None:
        """Send the events until all have an answer."""
        size = len(events)
        while events:
            part = events[:size]
            wait = await self._send(part)
            if wait is None:
                events = events[len(part) :]
                async with self._changed:
                    self._changed.notify_all()
            elif wait == SPLIT:
                size = len(part) // 2
            else:
                await asyncio.sleep(wait)

    async def _send(self, events: list[bytes]) -> float | None:
        headers, body = self._outbox.request(events)
        try:
            answer = await self._http.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return self._outbox.failed(type(error).__name__)
        return self._outbox.answered(answer.status_code, answer.headers, answer.content, events)
