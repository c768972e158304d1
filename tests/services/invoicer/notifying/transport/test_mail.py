"""Letters are handed to a mail server that is known, over TLS unless it is this machine."""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from services.invoicer.notifying.transport import mail
from services.invoicer.notifying.transport.answers import Answer
from services.invoicer.notifying.transport.letters import letter
from services.invoicer.notifying.transport.mail import MailServer, read_server, send_letter
from shared.errors import WrongUseError
from shared.settings import Settings
from tests.services.invoicer.notifying.outbox.test_notices import notice
from tests.services.invoicer.notifying.transport.mail_server import running_mail_server


def _server(url: str | None) -> MailServer | None:
    given = None if url is None else SecretStr(url)
    return read_server(Settings(_env_file=None, smtp_url=given))


async def _send(server: MailServer) -> Answer:
    written = letter(notice(), sender="tallybook@acme.example", mailbox="finance@acme.example")
    with ThreadPoolExecutor(1) as threads:
        return await send_letter(server, written, threads)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (None, None),
        (
            "smtp://tally:p%40ss@mail.example",
            MailServer("mail.example", 587, "starttls", "tally", "p@ss"),
        ),
        ("smtp://mail.example:25", MailServer("mail.example", 25, "starttls")),
        ("smtps://mail.example", MailServer("mail.example", 465, "smtps")),
        ("smtp://relay.internal:25?tls=off", MailServer("relay.internal", 25, "off")),
        ("smtp://localhost:25", MailServer("localhost", 25, "off")),
        ("smtp://127.0.0.1:25", MailServer("127.0.0.1", 25, "off")),
        ("smtps://localhost:465", MailServer("localhost", 465, "smtps")),
    ],
)
def test_the_address_of_the_mail_server(url: str | None, server: MailServer | None) -> None:
    assert _server(url) == server


@pytest.mark.parametrize(
    "url", ["mail.example", "http://mail.example", "smtp://", "smtp://m:x", "smtp://m?tls=maybe"]
)
def test_what_is_none_is_said_without_what_it_holds(url: str) -> None:
    with pytest.raises(WrongUseError, match="TALLYBOOK_SMTP_URL") as caught:
        _server(url.replace("://", "://user:hidden@"))
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("sender", ["", "tallybook", "Tallybook <>", "@acme.example"])
def test_a_sender_without_a_mailbox_is_none(sender: str) -> None:
    given = Settings(_env_file=None, smtp_url=SecretStr("smtp://m"), smtp_from=sender)
    with pytest.raises(WrongUseError, match="TALLYBOOK_SMTP_FROM"):
        read_server(given)


def test_the_password_does_not_print() -> None:
    assert "hidden" not in repr(_server("smtp://user:hidden@mail.example"))


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a server that `SSL_CERT_FILE` says to trust as `localhost`, not as `127.0.0.1`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.mark.parametrize("way", ["starttls", "smtps"])
async def test_a_letter_goes_over_tls_with_user_and_password(tls: ssl.SSLContext, way: str) -> None:
    async with running_mail_server(tls, is_tls=way == "smtps") as made:
        server = MailServer("localhost", made.port, way, "tally", made.password)
        assert await _send(server) == Answer("taken by the mail server", taken=True)
        (taken,) = made.taken
        assert (taken.over_tls, taken.user) == (True, "tally")
        assert (taken.sender, taken.mailboxes) == (
            "tallybook@acme.example",
            ["finance@acme.example"],
        )
        assert taken.message["Message-ID"] == f"<{notice().id}@acme.example>"

        wrong = await _send(replace(server, password="other"))
        assert wrong == Answer("the mail server answered 535")
        stranger = await _send(replace(server, host="127.0.0.1"))
        assert (stranger.taken, "CERTIFICATE_VERIFY_FAILED" in stranger.words) == (False, True)
        assert len(made.taken) == 1


async def test_without_tls_nothing_is_sent_where_it_is_insisted_on() -> None:
    async with running_mail_server() as made:
        server = MailServer("localhost", made.port, "starttls", "tally", made.password)
        answer = await _send(server)
        assert answer.words.startswith("the mail server cannot be used")
        assert made.taken == []
        assert (await _send(replace(server, tls="off"))).taken
        assert [(one.over_tls, one.user) for one in made.taken] == [(False, "tally")]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("MAIL", "the mail server answered 451"),
        ("RCPT", "the mail server refused the mailbox: 451"),
        ("DATA", "the mail server answered 451"),
    ],
)
async def test_a_refusal_is_told(verb: str, words: str) -> None:
    async with running_mail_server() as made:
        made.replies = {verb: "451 come back later"}
        assert await _send(MailServer("localhost", made.port, "off")) == Answer(words)
        assert made.taken == []


async def test_a_server_that_is_away_is_told() -> None:
    async with running_mail_server() as made:
        port = made.port
    answer = await _send(MailServer("127.0.0.1", port, "off"))
    assert answer.words.startswith("the mail server cannot be reached")


@pytest.mark.parametrize("farewell", ["250 bye", "421 not now", "500 what?"])
async def test_a_letter_that_was_taken_is_taken_whatever_the_farewell(farewell: str) -> None:
    async with running_mail_server() as made:
        made.replies = {"QUIT": farewell}
        assert (await _send(MailServer("localhost", made.port, "off"))).taken
        assert len(made.taken) == 1


async def test_a_server_that_always_says_a_little_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mail, "_WHOLE_SECONDS", 0.2)
    given_up = asyncio.Event()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not given_up.is_set():
            writer.write(b"220-wait a little\r\n")
            await asyncio.sleep(0.02)
        writer.close()

    talking = await asyncio.start_server(talk, "127.0.0.1", 0)
    written = letter(notice(), sender="tallybook@acme.example", mailbox="finance@acme.example")
    async with talking:
        port = talking.sockets[0].getsockname()[1]
        threads = ThreadPoolExecutor(1)
        answer = await send_letter(MailServer("127.0.0.1", port, "off"), written, threads)
        given_up.set()
        await asyncio.to_thread(threads.shutdown)
    assert answer == Answer("the mail server did not answer in time")
