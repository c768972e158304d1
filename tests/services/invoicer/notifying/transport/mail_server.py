"""A mail server on loopback that keeps what it takes. I/O: SMTP (RFC 5321), by hand.

It speaks as much of SMTP as a client needs to hand a letter in: STARTTLS, AUTH PLAIN, and
refusals where a test wills.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default


@dataclass(frozen=True)
class Letter:
    """A letter as it was taken, and how."""

    sender: str
    mailboxes: list[str]
    message: EmailMessage
    user: str | None
    over_tls: bool


@dataclass
class MailServer:
    """Takes letters; `replies` are answers in the place of its own, by the command's verb."""

    tls: ssl.SSLContext | None = None
    is_tls: bool = False
    """It speaks TLS from the start."""
    port: int = 0
    taken: list[Letter] = field(default_factory=list)
    replies: Mapping[str, str] = field(default_factory=dict)
    password: str = "pass word"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            await _Conversation(self, reader, writer).hold()
        writer.close()


@dataclass
class _Conversation:
    server: MailServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sender: str = ""
    mailboxes: list[str] = field(default_factory=list)
    user: str | None = None

    async def hold(self) -> None:
        await self._say("220 mail.test ready")
        while line := (await self.reader.readuntil(b"\r\n")).decode().strip():
            verb = line.split(" ")[0].upper()
            own = self.server.replies.get(verb)
            if own is not None:
                await self._say(own)
            elif verb == "QUIT":
                return await self._say("221 bye")
            else:
                await self._answer(verb, line)
        return None

    async def _answer(self, verb: str, line: str) -> None:
        if verb == "EHLO":
            offers = ["mail.test"]
            offers += ["STARTTLS"] if self.server.tls and not self._is_over_tls() else []
            offers += ["AUTH PLAIN"]
            for one in offers[:-1]:
                await self._say(f"250-{one}")
            await self._say(f"250 {offers[-1]}")
        elif verb == "STARTTLS" and self.server.tls:
            await self._say("220 go on")
            await self.writer.start_tls(self.server.tls)
        elif verb == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            is_right = password == self.server.password
            self.user = user if is_right else None
            await self._say("235 welcome" if is_right else "535 wrong")
        elif verb == "MAIL":
            self.sender = line.partition("<")[2].partition(">")[0]
            await self._say("250 ok")
        elif verb == "RCPT":
            self.mailboxes.append(line.partition("<")[2].partition(">")[0])
            await self._say("250 ok")
        elif verb == "DATA":
            await self._take()
        else:
            await self._say("250 ok")

    async def _take(self) -> None:
        await self._say("354 go on")
        raw = await self.reader.readuntil(b"\r\n.\r\n")
        message = message_from_bytes(raw[:-3].replace(b"\r\n..", b"\r\n."), policy=default)
        assert isinstance(message, EmailMessage)
        self.server.taken.append(
            Letter(self.sender, self.mailboxes, message, self.user, self._is_over_tls())
        )
        await self._say("250 taken")

    def _is_over_tls(self) -> bool:
        return self.writer.get_extra_info("sslcontext") is not None

    async def _say(self, line: str) -> None:
        self.writer.write(f"{line}\r\n".encode())
        await self.writer.drain()


@contextlib.asynccontextmanager
async def running_mail_server(
    tls: ssl.SSLContext | None = None, *, is_tls: bool = False
) -> AsyncIterator[MailServer]:
    """Have a mail server for as long as the context is open; with `tls` it offers STARTTLS."""
    made = MailServer(tls, is_tls)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0, ssl=tls if is_tls else None)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await server.wait_closed()
