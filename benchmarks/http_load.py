"""A lean HTTP client for load: prepared requests over kept connections, nothing else. I/O.

A general client would use up more of the processor than ingest does, and be what is measured.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

BATCH_TYPE = "application/cloudevents-batch+json"
SINGLE_TYPE = "application/cloudevents+json"

_CONNECTIONS = 16


class UnexpectedAnswerError(Exception):
    """Ingest answered otherwise than with all events accepted."""


def requests(bodies: Iterable[bytes], key: str, media_type: str = BATCH_TYPE) -> list[bytes]:
    """Write whole requests, ready to be sent."""
    return [
        (
            f"POST /v1/events HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for body in bodies
    ]


async def send_all(port: int, prepared: Sequence[bytes], events_each: int) -> None:
    """Send all requests, several at once; raise where an answer is not wholly `accepted`."""
    waiting = iter(prepared)
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(_connection(port, waiting, events_each))


async def _connection(port: int, waiting: Iterable[bytes], events_each: int) -> None:
    async with _Connection(port) as connection:
        for request in waiting:
            await connection.send(request, events_each)


async def send_paced(
    port: int, prepared: Sequence[bytes], events_each: int, requests_per_second: float
) -> list[float]:
    """Send requests at even distances; give the seconds from when each was due to its answer.

    What waits for a free connection counts, so that a slow answer makes those after it late,
    as it does for producers that do not know of one another.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    due = ((began + n / requests_per_second, request) for n, request in enumerate(prepared))
    took: list[float] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(_paced_connection(port, due, events_each, took))
    return took


async def _paced_connection(
    port: int, due: Iterator[tuple[float, bytes]], events_each: int, took: list[float]
) -> None:
    loop = asyncio.get_running_loop()
    async with _Connection(port) as connection:
        for at, request in due:
            await asyncio.sleep(max(0.0, at - loop.time()))
            await connection.send(request, events_each)
            took.append(loop.time() - at)


class _Connection:
    """One kept connection to ingest; use it as an async context manager."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=1 << 20
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, request: bytes, events_each: int) -> None:
        """Send a request and read its answer, which must say that all was accepted."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        body = await self._reader.readexactly(length)
        if not body.startswith(b'{"accepted":%d,' % events_each):
            raise UnexpectedAnswerError(body[:300].decode("utf-8", "replace"))
