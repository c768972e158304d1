"""Letters are handed to a mail server that is known, over TLS unless it is this machine."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from services.invoicer.notifying.answers import Answer
from services.invoicer.notifying.letters import letter
from services.invoicer.notifying.mail import MailServer, read_server, send_letter
from shared.errors import WrongUseError
from shared.settings import Settings
from tests.services.invoicer.notifying.mail_server import running_mail_server
from tests.services.invoicer.notifying.test_notices import notice


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
    async with running_mail_server(tls, is_tls=way == "smtps") as mail:
        server = MailServer("localhost", mail.port, way, "tally", mail.password)
        assert await _send(server) == Answer("taken by the mail server", taken=True)
        (taken,) = mail.taken
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
        assert len(mail.taken) == 1


async def test_without_tls_nothing_is_sent_where_it_is_insisted_on() -> None:
    async with running_mail_server() as mail:
        server = MailServer("localhost", mail.port, "starttls", "tally", mail.password)
        answer = await _send(server)
        assert answer.words.startswith("the mail server cannot be used")
        assert mail.taken == []
        assert (await _send(replace(server, tls="off"))).taken
        assert [(one.over_tls, one.user) for one in mail.taken] == [(False, "tally")]


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("MAIL", "the mail server answered 451"),
        ("RCPT", "the mail server refused the mailbox: 451"),
        ("DATA", "the mail server answered 451"),
    ],
)
async def test_a_refusal_is_told(verb: str, words: str) -> None:
    async with running_mail_server() as mail:
        mail.replies = {verb: "451 come back later"}
        assert await _send(MailServer("localhost", mail.port, "off")) == Answer(words)
        assert mail.taken == []


async def test_a_server_that_is_away_is_told() -> None:
    async with running_mail_server() as mail:
        port = mail.port
    answer = await _send(MailServer("127.0.0.1", port, "off"))
    assert answer.words.startswith("the mail server cannot be reached")
