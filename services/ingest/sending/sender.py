"""Sends requests to ingest, several at once, until each has an answer. I/O: HTTP."""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from services.ingest.sending.lines import Batch
from services.ingest.sending.place import Counts
from shared.client.answers import Again, Answered, Refused, back_off, judge
from shared.client.outbox import BATCH_TYPE
from shared.errors import TallybookError, UnavailableError

AT_ONCE = 8
"""Requests that are under way at the same time."""

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class KeyRefusedError(TallybookError):
    """Ingest does not take the API key."""

    code = "key_refused"
    status = 401
    exit_status = 2


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that was not taken, and why."""

    line: int
    code: str
    detail: str | None
    pointer: str | None


@dataclass(slots=True)
class Done:
    """What became of a batch."""

    batch: Batch
    counts: Counts = field(default_factory=Counts)
    rejected: list[RejectedLine] = field(default_factory=list)

    def reject(self, line: RejectedLine) -> None:
        """Take in a line that was not taken."""
        self.rejected.append(line)
        self.counts.rejected[line.code] = self.counts.rejected.get(line.code, 0) + 1


class _Feed:
    """Reads ahead in a thread: a pipe that is slow or silent holds up nothing else.

    The thread dies with the process, as it may wait for a line that never comes.
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._loop = asyncio.get_running_loop()
        self._read: asyncio.Queue[Batch | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(2 * AT_ONCE)
        threading.Thread(target=self._run, name="read-events", daemon=True).start()

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self._room.acquire()
                self._hand_over(batch)
        except Exception as error:
            self._hand_over(error)
        self._hand_over(None)

    def _hand_over(self, item: Batch | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._read.put_nowait, item)

    async def next(self) -> Batch | None:
        """Give the next batch, None after the last; raises what reading raised."""
        item = await self._read.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            self._read.put_nowait(None)  # for the others that ask
        self._room.release()
        return item


class Sender:
    """Sends batches; `patience` is for how many seconds nothing may be answered."""

    def __init__(self, url: str, key: str, patience: float) -> None:
        self._url = url.rstrip("/") + "/v1/events"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": BATCH_TYPE}
        self._patience = patience
        self._answered_at = time.monotonic()
        self._http = httpx.AsyncClient(timeout=30)

    async def send(self, batches: Iterator[Batch], done: Callable[[Done], None]) -> None:
        """Send all batches; `done` is called for each in the order of the file.

        Raises `UnavailableError` where ingest answers none for long, and `KeyRefusedError`.
        """
        waiting: dict[int, Done] = {}
        following = 0
        self._answered_at = time.monotonic()
        feed = _Feed(batches)

        async def work() -> None:
            nonlocal following
            while (batch := await feed.next()) is not None:
                waiting[batch.number] = await self._send_batch(batch)
                while following in waiting:
                    done(waiting.pop(following))
                    following += 1

        tasks = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._http.aclose()

    async def _send_batch(self, batch: Batch) -> Done:
        done = Done(batch)
        for bad in batch.bad:
            done.reject(RejectedLine(bad.line, bad.code, bad.detail, None))
        parts = [(batch.lines, batch.events)] if batch.events else []
        while parts:
            lines, events = parts.pop()
            outcome = await self._outcome(events)
            if isinstance(outcome, Answered):
                done.counts.accepted += outcome.accepted
                done.counts.duplicate += outcome.duplicate
                for one in outcome.rejections:
                    line = lines[one.position]
                    done.reject(RejectedLine(line, one.code, one.detail, one.pointer))
            elif len(events) > 1:
                middle = len(events) // 2
                parts += [(lines[middle:], events[middle:]), (lines[:middle], events[:middle])]
            else:
                done.reject(RejectedLine(lines[0], outcome.code, outcome.detail, None))
        done.rejected.sort(key=lambda rejected: rejected.line)
        return done

    async def _outcome(self, events: list[bytes]) -> Answered | Refused:
        """Send a request until it has an answer."""
        body = b"[" + b",".join(events) + b"]"
        attempt = 0
        while True:
            outcome = await self._try(body, events)
            if not isinstance(outcome, Again):
                self._answered_at = time.monotonic()
                return outcome
            if outcome.of_key:
                raise KeyRefusedError(
                    "ingest does not take the API key; set TALLYBOOK_PRODUCER_KEY to one that"
                    f" may send events (tallybook keys create): {outcome.reason}"
                )
            if time.monotonic() - self._answered_at > self._patience:
                raise UnavailableError(
                    f"ingest at {self._url} does not take the events: {outcome.reason};"
                    " is it up, and is TALLYBOOK_INGEST_URL right?"
                )
            chance = random.random()  # noqa: S311  # spreads retries; nothing secret
            first, most = _FIRST_WAIT, _LONGEST_WAIT
            wait = back_off(attempt, chance, outcome.after, first=first, most=most)
            await asyncio.sleep(min(wait, self._patience + 1))
            attempt += 1

    async def _try(self, body: bytes, events: list[bytes]) -> Answered | Again | Refused:
        try:
            answer = await self._http.post(self._url, content=body, headers=self._headers)
        except httpx.HTTPError as error:
            return Again(type(error).__name__)
        now = datetime.now(UTC)
        return judge(answer.status_code, answer.headers, answer.content, events, now)
