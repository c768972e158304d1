"""Hands a letter to the mail server that the settings name. I/O: SMTP.

The password goes over TLS: STARTTLS is insisted on, or TLS from the start with `smtps`. Only
to this machine, or with `?tls=off`, does a letter go in the clear.
"""

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from services.invoicer.notifying.transport.addresses import is_this_machine
from services.invoicer.notifying.transport.answers import Answer
from shared.errors import WrongUseError
from shared.settings import Settings

_STEP_SECONDS = 15.0
"""How long the server has for each step of a conversation."""

_WHOLE_SECONDS = 120.0
"""How long an attempt may take in all: a server can make each of its steps many small ones."""

_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where letters are handed in, and how."""

    host: str
    port: int
    tls: str
    """`starttls`, `smtps` or `off`."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def read_server(settings: Settings) -> MailServer | None:
    """Read the mail server out of the settings, None for none; raises `WrongUseError`."""
    if not settings.smtp_url:
        return None
    try:
        parts = urlsplit(settings.smtp_url.get_secret_value())
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    asked = parse_qs(parts.query).get("tls", [""])[0] if host else ""
    if not host or parts.scheme not in _PORTS or asked not in ("", "off"):
        raise WrongUseError(
            "TALLYBOOK_SMTP_URL is no address of a mail server; write"
            " smtp://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465"
        )
    if not parseaddr(settings.smtp_from)[1].rpartition("@")[0]:
        raise WrongUseError("TALLYBOOK_SMTP_FROM is no sender; write tallybook@acme.example")
    tls = "smtps" if parts.scheme == "smtps" else "starttls"
    if asked == "off" or (tls == "starttls" and is_this_machine(host)):
        tls = "off"
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return MailServer(host, port or _PORTS[parts.scheme], tls, user, password)


async def send_letter(server: MailServer, letter: EmailMessage, threads: Executor) -> Answer:
    """Hand a letter to the server; whatever comes of it is the answer."""
    try:
        async with asyncio.timeout(_WHOLE_SECONDS):
            await asyncio.get_running_loop().run_in_executor(threads, _send, server, letter)
    except smtplib.SMTPResponseException as error:
        return Answer(f"the mail server answered {error.smtp_code}")
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(str(code) for code, _ in error.recipients.values())
        return Answer(f"the mail server refused the mailbox: {codes}")
    except smtplib.SMTPException as error:
        return Answer(f"the mail server cannot be used: {type(error).__name__}")
    except TimeoutError:
        return Answer("the mail server did not answer in time")
    except OSError as error:
        return Answer(f"the mail server cannot be reached: {error}")
    return Answer("taken by the mail server", taken=True)


def _send(server: MailServer, letter: EmailMessage) -> None:
    with _conversation(server) as smtp:
        if server.tls == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if server.user is not None:
            smtp.login(server.user, server.password or "")
        smtp.send_message(letter)


@contextlib.contextmanager
def _conversation(server: MailServer) -> Iterator[smtplib.SMTP]:
    if server.tls == "smtps":
        context = ssl.create_default_context()
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=_STEP_SECONDS, context=context
        )
    else:
        smtp = smtplib.SMTP(server.host, server.port, timeout=_STEP_SECONDS)
    try:
        yield smtp
        with contextlib.suppress(OSError):  # what was taken stays taken, whatever is said to QUIT
            smtp.quit()
    finally:
        smtp.close()
