"""A receiver of notices on loopback, which answers as a test wills. I/O: HTTP, by hand.

By hand, so that it can break a connection before it has answered anything. It verifies
signatures by the specification of Standard Webhooks, with no code of Tallybook's.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from shared.web import wait_until

Behaviour = int | tuple[int, dict[str, str]] | str
"""A status, one with headers, or no answer: "lost", the connection breaks; "hang", it stays open.
"late" is an answer once the receiver lets go. Any other text is what is answered, as it is."""

_TOLERANCE_SECONDS = 5 * 60


@dataclass(frozen=True)
class Received:
    """A message as it came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def is_signed_by(self, secret: str, *, now: float | None = None) -> bool:
        """Verify as a receiver has to: age, and one of the signatures."""
        sent = int(self.headers["webhook-timestamp"])
        if abs((time.time() if now is None else now) - sent) > _TOLERANCE_SECONDS:
            return False
        key = base64.b64decode(secret[len("whsec_") :], validate=True)
        content = f"{self.id}.{sent}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        given = [one.split(",", 1) for one in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and one == expected for version, one in given)


@dataclass
class Receiver:
    """Records what comes; `answer` decides what a message gets, the n-th from 0."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Callable[[int], Behaviour] = lambda _place: 204
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once what hangs is to break, and what is late to be answered."""

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]

    async def has(self, count: int, *, seconds: float = 60) -> None:
        """Wait until so many messages have come."""

        async def come() -> bool:
            return len(self.received) >= count

        async with asyncio.timeout(seconds):
            await wait_until(come, first_delay=0.02, longest=0.02)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request of a connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._take(reader, writer)
        writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        given = dict(line.split(": ", 1) for line in head[1:] if line)
        headers |= {name.lower(): value for name, value in given.items()}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        place = len(self.received)
        self.received.append(Received(head[0].split(" ")[1], headers, body))
        behaviour = self.answer(place)
        if behaviour in ("hang", "late"):
            await self.let_go.wait()
        if behaviour == "late":
            behaviour = 204
        if isinstance(behaviour, str):
            if behaviour not in ("lost", "hang"):
                writer.write(f"{behaviour}\r\n\r\n".encode())
                await writer.drain()
            return
        status, more = behaviour if isinstance(behaviour, tuple) else (behaviour, {})
        lines = [f"HTTP/1.1 {status} As willed", "content-length: 0", "connection: close"]
        lines += [f"{name}: {value}" for name, value in more.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()


@contextlib.asynccontextmanager
async def running_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Have a receiver for as long as the context is open."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/hooks?from=tallybook"
    try:
        yield receiver
    finally:
        server.close()
        receiver.let_go.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
