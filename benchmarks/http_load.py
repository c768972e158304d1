"""A lean HTTP client for load: prepared requests over kept connections, nothing else. I/O.

A general client would use up more of the processor than ingest does, and be what is measured.
"""

import asyncio
from collections.abc import Iterable, Sequence

_CONNECTIONS = 16
_BATCH_TYPE = "application/cloudevents-batch+json"


class UnexpectedAnswerError(Exception):
    """Ingest answered otherwise than with all events accepted."""


def requests(bodies: Iterable[bytes], key: str) -> list[bytes]:
    """Write whole requests, ready to be sent."""
    return [
        (
            f"POST /v1/events HTTP/1.1\r\nHost: benchmark\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: {_BATCH_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
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
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        for request in waiting:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            body = await reader.readexactly(length)
            if not body.startswith(b'{"accepted":%d,' % events_each):
                raise UnexpectedAnswerError(body[:300].decode("utf-8", "replace"))
    finally:
        writer.close()
